"""Writes a checkpoint as GGUF v3, architecture `deepseek2`, Q8_0, with DeepSeek's own tensor names."""

import argparse
import os

import numpy as np
import torch

from gguf_io import ARRAY, BOOL, F32, FLOAT, I32, Q8_0, STRING, U32, write
from shape import Shape
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def metadata(s: Shape, tok: Tokenizer, template: str):
    a = "deepseek2."
    return [
        ("general.architecture", (STRING, "deepseek2")),
        ("general.name", (STRING, "hadal-tiny")),
        ("general.type", (STRING, "model")),
        ("general.file_type", (U32, 7)),  # mostly Q8_0
        ("general.quantization_version", (U32, 2)),
        ("general.alignment", (U32, 32)),
        (a + "vocab_size", (U32, s.vocab)),
        (a + "context_length", (U32, s.context)),
        (a + "embedding_length", (U32, s.hidden)),
        (a + "block_count", (U32, s.layers + s.nextn)),
        (a + "nextn_predict_layers", (U32, s.nextn)),
        (a + "feed_forward_length", (U32, s.dense_inter)),
        (a + "leading_dense_block_count", (U32, s.dense_layers)),
        (a + "attention.head_count", (U32, s.heads)),
        (a + "attention.head_count_kv", (U32, 1)),
        (a + "attention.q_lora_rank", (U32, s.q_lora)),
        (a + "attention.kv_lora_rank", (U32, s.kv_lora)),
        (a + "attention.key_length", (U32, s.kv_lora + s.rope)),
        (a + "attention.value_length", (U32, s.kv_lora)),
        (a + "attention.key_length_mla", (U32, s.nope + s.rope)),
        (a + "attention.value_length_mla", (U32, s.v_head)),
        (a + "attention.layer_norm_rms_epsilon", (FLOAT, s.eps)),
        (a + "rope.dimension_count", (U32, s.rope)),
        (a + "rope.freq_base", (FLOAT, s.rope_theta)),
        (a + "expert_feed_forward_length", (U32, s.expert_inter)),
        (a + "expert_count", (U32, s.experts)),
        (a + "expert_used_count", (U32, s.experts_used)),
        (a + "expert_shared_count", (U32, s.shared_experts)),
        (a + "expert_weights_scale", (FLOAT, s.route_scale)),
        (a + "expert_weights_norm", (BOOL, True)),
        (a + "expert_gating_func", (U32, 2)),  # sigmoid
        (a + "expert_group_count", (U32, s.groups)),
        (a + "expert_group_used_count", (U32, s.groups_used)),
        ("tokenizer.ggml.model", (STRING, "gpt2")),
        ("tokenizer.ggml.pre", (STRING, "deepseek-v3")),
        ("tokenizer.ggml.tokens", (ARRAY, STRING, tok.tokens)),
        ("tokenizer.ggml.token_type", (ARRAY, I32, tok.token_types())),
        ("tokenizer.ggml.merges", (ARRAY, STRING, [" ".join(m) for m in tok.merges])),
        ("tokenizer.ggml.bos_token_id", (U32, tok.bos)),
        ("tokenizer.ggml.eos_token_id", (U32, tok.eos)),
        ("tokenizer.ggml.padding_token_id", (U32, tok.pad)),
        ("tokenizer.ggml.add_bos_token", (BOOL, True)),
        ("tokenizer.ggml.add_eos_token", (BOOL, False)),
        ("tokenizer.chat_template", (STRING, template)),
    ]


def attention_tensors(s, w, blk):
    k_b = w["attn.k_b"].reshape(s.heads, s.nope, s.kv_lora).transpose(0, 2, 1)  # absorbed into the query
    v_b = w["attn.v_b"].reshape(s.heads, s.v_head, s.kv_lora)
    return [
        (blk + "attn_norm.weight", w["attn_norm.weight"], F32),
        (blk + "attn_q_a.weight", w["attn.q_a"], Q8_0),
        (blk + "attn_q_a_norm.weight", w["attn.q_a_norm.weight"], F32),
        (blk + "attn_q_b.weight", w["attn.q_b"], Q8_0),
        (blk + "attn_kv_a_mqa.weight", w["attn.kv_a"], Q8_0),
        (blk + "attn_kv_a_norm.weight", w["attn.kv_a_norm.weight"], F32),
        (blk + "attn_k_b.weight", k_b, Q8_0),
        (blk + "attn_v_b.weight", v_b, Q8_0),
        (blk + "attn_output.weight", w["attn.o"], Q8_0),
        (blk + "ffn_norm.weight", w["ffn_norm.weight"], F32),
    ]


def ffn_tensors(s, w, blk):
    def halves(x):
        half = x.shape[-2] // 2
        return x[..., :half, :], x[..., half:, :]

    if "ffn.router" not in w:
        gate, up = halves(w["ffn.gate_up"])
        return [(blk + "ffn_gate.weight", gate, Q8_0), (blk + "ffn_up.weight", up, Q8_0),
                (blk + "ffn_down.weight", w["ffn.down"], Q8_0)]
    gate, up = halves(w["ffn.gate_up"])
    shared_gate, shared_up = halves(w["ffn.shared.gate_up"])
    return [
        (blk + "ffn_gate_inp.weight", w["ffn.router"], F32),
        (blk + "exp_probs_b.bias", w["ffn.bias"], F32),
        (blk + "ffn_gate_exps.weight", gate, Q8_0),
        (blk + "ffn_up_exps.weight", up, Q8_0),
        (blk + "ffn_down_exps.weight", w["ffn.down"], Q8_0),
        (blk + "ffn_gate_shexp.weight", shared_gate, Q8_0),
        (blk + "ffn_up_shexp.weight", shared_up, Q8_0),
        (blk + "ffn_down_shexp.weight", w["ffn.shared.down"], Q8_0),
    ]


def tensors(s: Shape, state):
    weights = {k: v.float().numpy() for k, v in state.items()}

    def under(prefix):
        return {k[len(prefix):]: v for k, v in weights.items() if k.startswith(prefix)}

    out = [("token_embd.weight", weights["embed"], Q8_0),
           ("output_norm.weight", weights["norm.weight"], F32),
           ("output.weight", weights["head"], Q8_0)]
    for i in range(s.layers + s.nextn):
        blk = "blk.%d." % i
        w = under("layers.%d." % i if i < s.layers else "mtp.layer.")
        out += attention_tensors(s, w, blk) + ffn_tensors(s, w, blk)
    blk = "blk.%d.nextn." % s.layers
    out += [(blk + "eh_proj.weight", weights["mtp.eh_proj"], Q8_0),
            (blk + "enorm.weight", weights["mtp.enorm.weight"], F32),
            (blk + "hnorm.weight", weights["mtp.hnorm.weight"], F32),
            (blk + "shared_head_norm.weight", weights["mtp.head_norm.weight"], F32)]
    return out


def export(path, shape, state, tok):
    with open(os.path.join(HERE, "chat_template.jinja"), encoding="utf-8") as source:
        template = source.read()
    part = path + ".part"
    write(part, metadata(shape, tok, template), tensors(shape, state))
    os.replace(part, path)  # a reader never sees half a file
    return os.path.getsize(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    args = parser.parse_args()
    saved = torch.load(args.checkpoint, map_location="cpu")
    tok = Tokenizer.load(os.path.join(HERE, "tokenizer.json"))
    size = export(args.output, Shape(**saved["shape"]), saved["model"], tok)
    print("%s: %d bytes, %d parameters" % (args.output, size, sum(v.numel() for v in saved["model"].values())))


if __name__ == "__main__":
    main()
