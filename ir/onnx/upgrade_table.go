package onnx

// upgradeTable lists, per op, what changed since opset 7 and how older nodes are rewritten.
// Changes that only added attributes, inputs or element types need no rule: their
// defaults are the old meaning.
func upgradeTable() map[string][]rule {
	return map[string][]rule{
		"BatchNormalization": {{9, spatialBatchNorm}, {14, inferenceBatchNorm}},
		"Clip":               {{11, clipBounds}},
		"DFT":                {{20, dftAxis}},
		"Dropout":            {{12, dropRatio}},
		"GridSample":         {{20, gridSampleMode}},
		"GroupNormalization": {{21, groupScales}},
		"Hardmax":            {{13, flatten2D}},
		"LogSoftmax":         {{13, flatten2D}},
		"Pad":                {{11, padInputs}},
		"ReduceL1":           {{18, axesInput}},
		"ReduceL2":           {{18, axesInput}},
		"ReduceLogSum":       {{18, axesInput}},
		"ReduceLogSumExp":    {{18, axesInput}},
		"ReduceMax":          {{18, axesInput}},
		"ReduceMean":         {{18, axesInput}},
		"ReduceMin":          {{18, axesInput}},
		"ReduceProd":         {{18, axesInput}},
		"ReduceSum":          {{13, axesInput}},
		"ReduceSumSquare":    {{18, axesInput}},
		"Resize":             {{11, resize10}, {always, resizeEmpty}},
		"RoiAlign":           {{16, roiAlignMode}},
		"Scan":               {{9, scan8}},
		"Scatter":            {{always, scatter}},
		"Slice":              {{10, sliceInputs}},
		"Softmax":            {{13, flatten2D}},
		"Split":              {{13, splitInput}, {18, splitCount}},
		"Squeeze":            {{13, axesInput}},
		"TopK":               {{10, topKInput}},
		"Unsqueeze":          {{13, axesInput}},
		"Upsample":           {{9, upsampleScales}, {always, upsample}},
	}
}

// always is beyond every operator set: the rule holds for all of them.
const always = 1 << 30
