//go:build unix

package tests

import "syscall"

func makeFIFO(name string) error { return syscall.Mkfifo(name, 0o644) }
