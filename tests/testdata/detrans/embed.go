// Package detrans is the bundled pretrained model: a small encoder-decoder that writes
// Latin-script Manding in N'Ko script, with its vocabulary, BPE merges and evaluation
// pairs as token ids. Origin and licence: README.md and LICENSE.detransliterator.txt.
package detrans

import "embed"

// Files holds detrans.onnx, vocab.json, bpe.code, detrans_eval.npz and the licence.
//
//go:embed detrans.onnx vocab.json bpe.code detrans_eval.npz LICENSE.detransliterator.txt
var Files embed.FS
