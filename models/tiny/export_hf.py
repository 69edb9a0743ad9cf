"""Writes a checkpoint as a Hugging Face folder: DeepseekV3ForCausalLM, safetensors in BF16, tokenizer.json.

    python3 export_hf.py out/last.pt FOLDER
"""

import argparse
import json
import os
import struct

import torch

from export_gguf import HERE
from shape import Shape
from tokenizer import BOS, EOS, HF_PATTERNS, PAD, SPECIALS, USER_DEFINED, Tokenizer


def config(s: Shape, tok: Tokenizer):
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "torch_dtype": "bfloat16",
        "vocab_size": s.vocab, "hidden_size": s.hidden, "intermediate_size": s.dense_inter,
        "moe_intermediate_size": s.expert_inter, "num_hidden_layers": s.layers, "num_nextn_predict_layers": s.nextn,
        "num_attention_heads": s.heads, "num_key_value_heads": s.heads, "n_shared_experts": s.shared_experts,
        "n_routed_experts": s.experts, "num_experts_per_tok": s.experts_used, "moe_layer_freq": 1,
        "first_k_dense_replace": s.dense_layers, "norm_topk_prob": True, "scoring_func": "sigmoid",
        "topk_method": "noaux_tc", "n_group": s.groups, "topk_group": s.groups_used,
        "routed_scaling_factor": s.route_scale, "q_lora_rank": s.q_lora, "kv_lora_rank": s.kv_lora,
        "qk_nope_head_dim": s.nope, "qk_rope_head_dim": s.rope, "v_head_dim": s.v_head, "hidden_act": "silu",
        "max_position_embeddings": s.context, "initializer_range": 0.02, "rms_norm_eps": s.eps,
        "rope_theta": s.rope_theta, "rope_scaling": None, "attention_bias": False, "attention_dropout": 0.0,
        "tie_word_embeddings": False, "use_cache": True, "ep_size": 1,
        "bos_token_id": tok.bos, "eos_token_id": tok.eos, "pad_token_id": tok.pad,
    }


def layer_tensors(s, w, base):
    a = base + "self_attn."
    k_b = w["attn.k_b"].view(s.heads, s.nope, s.kv_lora)
    v_b = w["attn.v_b"].view(s.heads, s.v_head, s.kv_lora)
    out = {
        base + "input_layernorm.weight": w["attn_norm.weight"],
        base + "post_attention_layernorm.weight": w["ffn_norm.weight"],
        a + "q_a_proj.weight": w["attn.q_a"], a + "q_a_layernorm.weight": w["attn.q_a_norm.weight"],
        a + "q_b_proj.weight": w["attn.q_b"], a + "kv_a_proj_with_mqa.weight": w["attn.kv_a"],
        a + "kv_a_layernorm.weight": w["attn.kv_a_norm.weight"],
        a + "kv_b_proj.weight": torch.cat((k_b, v_b), 1).reshape(-1, s.kv_lora),
        a + "o_proj.weight": w["attn.o"],
    }

    def mlp(name, gate_up, down):
        gate, up = gate_up.chunk(2)
        out.update({name + "gate_proj.weight": gate, name + "up_proj.weight": up, name + "down_proj.weight": down})

    if "ffn.router" not in w:
        mlp(base + "mlp.", w["ffn.gate_up"], w["ffn.down"])
        return out
    out[base + "mlp.gate.weight"] = w["ffn.router"]
    out[base + "mlp.gate.e_score_correction_bias"] = w["ffn.bias"]
    mlp(base + "mlp.shared_experts.", w["ffn.shared.gate_up"], w["ffn.shared.down"])
    for e in range(s.experts):
        mlp(base + "mlp.experts.%d." % e, w["ffn.gate_up"][e], w["ffn.down"][e])
    return out


def tensors(s: Shape, state):
    def under(prefix):
        return {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}

    out = {"model.embed_tokens.weight": state["embed"], "model.norm.weight": state["norm.weight"],
           "lm_head.weight": state["head"]}
    for i in range(s.layers):
        out.update(layer_tensors(s, under("layers.%d." % i), "model.layers.%d." % i))
    base = "model.layers.%d." % s.layers  # the MTP module; like DeepSeek's files it repeats embedding and head
    out.update(layer_tensors(s, under("mtp.layer."), base))
    out.update({base + "embed_tokens.weight": state["embed"], base + "shared_head.head.weight": state["head"],
                base + "shared_head.norm.weight": state["mtp.head_norm.weight"],
                base + "enorm.weight": state["mtp.enorm.weight"], base + "hnorm.weight": state["mtp.hnorm.weight"],
                base + "eh_proj.weight": state["mtp.eh_proj"]})
    return out


def write_safetensors(path, named):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, value in named.items():
        kept = name.endswith("e_score_correction_bias")  # DeepSeek keeps this one in float32
        value = value.contiguous()
        raw = value.float().numpy().tobytes() if kept else value.bfloat16().view(torch.int16).numpy().tobytes()
        header[name] = {"dtype": "F32" if kept else "BF16", "shape": list(value.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    head = json.dumps(header).encode("utf-8")
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        out.writelines(blobs)


def tokenizer_json(tok: Tokenizer):
    added = [{"id": tok.ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": t not in USER_DEFINED} for t in SPECIALS]
    splits = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in HF_PATTERNS]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    plain = {t: i for i, t in enumerate(tok.tokens) if t not in SPECIALS}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits + [level]},
        "post_processor": None,
        "decoder": dict(level, use_regex=True, add_prefix_space=True),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": plain, "merges": [" ".join(m) for m in tok.merges]},
    }


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)


def export(folder, s: Shape, state, tok: Tokenizer):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(HERE, "chat_template.jinja"), encoding="utf-8") as source:
        template = source.read()
    write_json(folder, "config.json", config(s, tok))
    write_json(folder, "tokenizer.json", tokenizer_json(tok))
    write_json(folder, "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
        "model_max_length": s.context, "tokenizer_class": "LlamaTokenizerFast", "chat_template": template,
        "clean_up_tokenization_spaces": False})
    write_json(folder, "generation_config.json", {"bos_token_id": tok.bos, "eos_token_id": tok.eos, "do_sample": False})
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors(s, state))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    args = parser.parse_args()
    saved = torch.load(args.checkpoint, map_location="cpu")
    export(args.folder, Shape(**saved["shape"]), saved["model"], Tokenizer.load(os.path.join(HERE, "tokenizer.json")))


if __name__ == "__main__":
    main()
