"""How far a file stands from its model: both read the same tokens, the file in llama.cpp."""
