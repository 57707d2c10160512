"""From a GGUF file back to a model folder, tokenizer and all."""
