"""The items that `make bench` runs, in this order, and the scripts that hold them."""

SCRIPTS = {
    "baking": "baking.py",
    "embeddings": "embeddings.py",
    "explanations": "explanations.py",
    "fine-tune": "fine_tune.py",
    "growth": "scaling.py",
    "kernels": "kernels.py",
    "large": "large.py",
    "monitoring": "monitoring.py",
    "neighbours": "neighbours.py",
    "overload": "overload.py",
    "predict": "pipeline.py",
    "prepare": "preparing.py",
    "promotion": "promotion.py",
    "service": "service.py",
    "start": "start.py",
    "whole": "whole.py",
}
ITEMS = """
embeddings-short embeddings-long embeddings-again
fine-tune-epoch fine-tune-padded fine-tune-goal
kernels large neighbours-fine-tune neighbours-predict
prepare predict-one predict-stream start-nothing start-light baking
service overload explanations monitoring promotion
growth-prepare growth-embeddings growth-predict whole
""".split()
PRODUCTION = ("service", "overload", "explanations", "monitoring", "promotion")  # of a project of that scope
# What the items write, in the order of the table; at the end those that are run by themselves: recipe.py,
# few_rows.py and rare_labels.py, which take an hour, and label_queue.py, which takes models of further projects.
RECORDS = """
embeddings-fp32 embeddings-bf16 embeddings-again embeddings-long
fine-tune-fp32 fine-tune-bf16 fine-tune-padded fine-tune-goal
kernels large neighbours-fine-tune neighbours-predict
prepare predict-one predict-stream start-nothing start-light baking
service overload explanations monitoring promotion
growth-prepare growth-embeddings growth-predict whole
recipe-reviews recipe-long recipe-german recipe-hwu64
few-rows-reviews few-rows-german few-rows-hwu64 rare-labels label-queue
""".split()
