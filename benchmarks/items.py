"""The items that `make bench` runs, in this order, and the scripts that hold them."""

SCRIPTS = {"fine-tune": "fine_tune.py", "predict": "pipeline.py"}  # the others are named as their items
ITEMS = """
embeddings-fp32 embeddings-bf16 embeddings-long embeddings-again
fine-tune-dynamic fine-tune-padded fine-tune-bf16 fine-tune-goal
prepare predict-one predict-stream start-nothing start-light baking
growth-prepare growth-embeddings growth-predict whole
""".split()
