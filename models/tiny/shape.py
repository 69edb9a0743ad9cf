"""The shape of hadal-tiny: DeepSeek-V3's architecture with small numbers.

Every input dimension is a multiple of 32, because a Q8_0 row is made of blocks of 32.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Shape:
    vocab: int = 2048
    hidden: int = 192
    layers: int = 5            # main layers; the first `dense_layers` have a plain MLP
    dense_layers: int = 1
    dense_inter: int = 512
    heads: int = 4
    q_lora: int = 96
    kv_lora: int = 64
    nope: int = 32             # part of a query/key head without position
    rope: int = 16             # part with rotary position, one key shared by all heads
    v_head: int = 32
    experts: int = 16
    expert_inter: int = 128
    experts_used: int = 2
    shared_experts: int = 1
    groups: int = 4            # group-limited routing: keep `groups_used`, then the best experts of those
    groups_used: int = 2
    route_scale: float = 2.5
    nextn: int = 1             # multi-token-prediction layers, stored after the main layers
    rope_theta: float = 10000.0
    context: int = 1024
    eps: float = 1e-6

    def to_dict(self):
        return asdict(self)
