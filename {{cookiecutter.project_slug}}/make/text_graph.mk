##@ Text graph

.PHONY: text-graph
text-graph:  ## Write models/text_graph: the fp32 model with its tokenizer inside, for callers in any language
	@python -c "import onnxruntime_extensions" 2> /dev/null || $(INSTALL) '.[text-graph]'
	@python -m tools.text_graph.build
