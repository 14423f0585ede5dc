//go:build cuda && linux && (amd64 || arm64)

package loader

// #cgo LDFLAGS: -ldl
import "C"
