//go:build !unix

package tests

import "errors"

func makeFIFO(string) error { return errors.New("no named pipes here") }
