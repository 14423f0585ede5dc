package onnxgo

// Later versions of Gorgonia's tensors, which other requirements may select, refuse to
// start on Go releases that this package does not know. Importing it here keeps a version
// that knows them in go.mod.
import _ "go4.org/unsafe/assume-no-moving-gc"
