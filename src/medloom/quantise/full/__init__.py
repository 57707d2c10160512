"""Full weights as GGUF: a model folder's tensors in F32, F16 or BF16, its tokenizer and what its card says."""
