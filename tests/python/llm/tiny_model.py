"""Writes a random Llama of half a megabyte in llama.cpp's format: tiny_model.py FILE"""

import sys

import gguf
import numpy as np

WIDTH, INNER, LAYERS, HEADS = 64, 128, 2, 4
CONTEXT = 4096
WORDS = 253

UNKNOWN, BEGIN, END = range(3)


def vocabulary():
    """Three special tokens, every byte, and words."""
    yield "<unk>", gguf.TokenType.UNKNOWN
    yield "<s>", gguf.TokenType.CONTROL
    yield "</s>", gguf.TokenType.CONTROL
    for byte in range(256):
        yield f"<0x{byte:02X}>", gguf.TokenType.BYTE
    for word in range(WORDS):
        yield f"\u2581w{word}", gguf.TokenType.NORMAL


def write(path):
    tokens = list(vocabulary())
    model = gguf.GGUFWriter(path, "llama")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(INNER)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list([text for text, _ in tokens])
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types([int(kind) for _, kind in tokens])
    model.add_unk_token_id(UNKNOWN)
    model.add_bos_token_id(BEGIN)
    model.add_eos_token_id(END)
    for name, weights in tensors(len(tokens)):
        model.add_tensor(name, weights.astype(np.float32))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def tensors(vocabulary_size):
    random = np.random.default_rng(seed=7)

    def matrix(rows, columns):
        return random.normal(scale=0.2, size=(rows, columns))

    yield "token_embd.weight", matrix(vocabulary_size, WIDTH)
    yield "output.weight", matrix(vocabulary_size, WIDTH)
    yield "output_norm.weight", np.ones(WIDTH)
    for layer in range(LAYERS):
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            yield f"blk.{layer}.{name}.weight", matrix(WIDTH, WIDTH)
        for name in ["ffn_gate", "ffn_up"]:
            yield f"blk.{layer}.{name}.weight", matrix(INNER, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", matrix(WIDTH, INNER)
        for name in ["attn_norm", "ffn_norm"]:
            yield f"blk.{layer}.{name}.weight", np.ones(WIDTH)


write(sys.argv[1])
