"""Makes the model of the tests on a real node: llama's architecture, random weights, a third of a megabyte.

Called by build.sh, which knows the checksum of what comes out: must never depend on the machine, the time or
numpy's random numbers. Its words make no sense; the API that serves them is the real one.
"""

import random
import sys

import gguf
import numpy as np

SEED = 1

# Without max_tokens a reply goes on until the context is full: some minutes, for tests of what happens meanwhile.
CONTEXT = 32768
WIDTH = 64
HEADS = 4
KV_HEADS = 2
HEAD = WIDTH // HEADS
FEED_FORWARD = 64
LAYERS = 2

# Any text is read, byte by byte. Only SPOKEN is ever said, so that all that is sent is valid UTF-8, and never the
# end: only max_tokens and the context end a reply.
UNKNOWN, BEGIN, END = 0, 1, 2
SPECIAL = [b"<unk>", b"<s>", b"</s>"]
SPOKEN = b"abcdefghijklmnopqrstuvwxyz ,."
SPACE = "\u2581".encode()  # as llama's vocabularies write it

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "


def main(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("demo")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_vocabulary(writer)
    for name, tensor in tensors():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary():
    """Each token's text and type. What is SPOKEN is there a second time, as a byte, which is never used."""
    for text in SPECIAL:
        yield text, gguf.TokenType.UNKNOWN if text == SPECIAL[UNKNOWN] else gguf.TokenType.CONTROL
    for byte in range(256):
        yield f"<0x{byte:02X}>".encode(), gguf.TokenType.BYTE
    for byte in SPOKEN:
        yield SPACE if byte == ord(" ") else bytes([byte]), gguf.TokenType.NORMAL


def add_vocabulary(writer):
    tokens, types = zip(*vocabulary())
    writer.add_tokenizer_model("llama")
    writer.add_vocab_size(len(tokens))
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def tensors():
    """The first component is the same for all tokens, and no layer changes it: the output uses it as a bias, against
    the tokens that are not SPOKEN."""
    generator = random.Random(SEED)
    tokens = len(SPECIAL) + 256 + len(SPOKEN)

    embedding = weights(generator, tokens, WIDTH)
    embedding[:, 0] = 1
    yield "token_embd.weight", embedding
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HEADS * HEAD, WIDTH),
            "attn_k": (KV_HEADS * HEAD, WIDTH),
            "attn_v": (KV_HEADS * HEAD, WIDTH),
            "attn_output": (WIDTH, HEADS * HEAD),
            "ffn_gate": (FEED_FORWARD, WIDTH),
            "ffn_up": (FEED_FORWARD, WIDTH),
            "ffn_down": (WIDTH, FEED_FORWARD),
        }
        for name, shape in shapes.items():
            tensor = weights(generator, *shape)
            if name in ("attn_output", "ffn_down"):
                tensor[0] = 0
            yield f"blk.{layer}.{name}.weight", tensor
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32)
    yield "output_norm.weight", np.ones(WIDTH, np.float32)
    output = weights(generator, tokens, WIDTH)
    output[:, 0] = 0
    output[: -len(SPOKEN), 0] = -1000
    yield "output.weight", output


def weights(generator, rows, columns):
    """Python promises the same numbers of random() for a seed in every version; numpy does not."""
    numbers = [generator.random() - 0.5 for _ in range(rows * columns)]
    return np.array(numbers, np.float32).reshape(rows, columns)


if __name__ == "__main__":
    main(sys.argv[1])
