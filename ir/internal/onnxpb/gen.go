// Package onnxpb is the ONNX file format as Go types, generated from the schema that
// ONNX ships (onnx-ml.proto of onnx 1.23.2, Apache-2.0). Two things differ from the
// original and neither is visible in a file: the proto package is not named "onnx",
// because two packages of that name in one binary panic at start; and the syntax is
// proto3 with explicit presence, so that absent fields can be told from zero ones.
package onnxpb

//go:generate protoc -I. --go_out=. --go_opt=paths=source_relative onnx.proto
