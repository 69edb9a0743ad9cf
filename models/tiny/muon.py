"""Muon for the matrices, AdamW for the rest. Muon makes each step of a matrix orthogonal (Newton-Schulz)."""

import torch


def orthogonalize(g, steps=5):
    """g: [batch, rows, columns], rows <= columns after a transpose. bfloat16 is precise enough."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = (g.transpose(-1, -2) if tall else g)
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        s = torch.bmm(x, x.transpose(-1, -2))
        x = a * x + torch.bmm(b * s + c * torch.bmm(s, s), x)
    x = x.float()
    return x.transpose(-1, -2) if tall else x


class Optimizer:
    def __init__(self, model, lr, adam_lr, decay=0.05, momentum=0.95):
        self.lr, self.adam_lr, self.decay, self.momentum = lr, adam_lr, decay, momentum
        self.matrices, rest = {}, []
        for name, p in model.named_parameters():
            if p.dim() >= 2 and not name.endswith(("embed", "head", "router")):
                self.matrices[name] = p
            else:
                rest.append(p)
        self.buffers = {name: torch.zeros_like(p) for name, p in self.matrices.items()}
        self.adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)

    def parts(self, name, p):
        """Gate and up are two matrices in one tensor."""
        rows, columns = p.shape[-2:]
        return (-1, rows // 2, columns) if name.endswith("gate_up") else (-1, rows, columns)

    @torch.no_grad()
    def step(self, scale):
        """`scale`: the schedule's factor, 0 to 1."""
        for group in self.adam.param_groups:
            group["lr"] = self.adam_lr * scale
        self.adam.step()
        by_shape = {}
        for name, p in self.matrices.items():
            if p.grad is None:
                continue
            buffer = self.buffers[name]
            buffer.lerp_(p.grad, 1 - self.momentum)
            update = p.grad.lerp(buffer, self.momentum).view(self.parts(name, p))
            by_shape.setdefault(tuple(update.shape[1:]), []).append((p, update))
        for (rows, columns), entries in by_shape.items():
            updates = orthogonalize(torch.cat([u for _, u in entries]))
            updates *= 0.2 * max(rows, columns) ** 0.5 * self.lr * scale
            for p, u in zip((p for p, _ in entries), updates.split([len(u) for _, u in entries])):
                p.mul_(1 - self.lr * scale * self.decay).sub_(u.reshape(p.shape))
        for p in list(self.matrices.values()) + [q for g in self.adam.param_groups for q in g["params"]]:
            p.grad = None

    def state(self):
        return {"buffers": self.buffers, "adam": self.adam.state_dict()}

    def load(self, state):
        for name, buffer in state["buffers"].items():
            self.buffers[name].copy_(buffer)
        self.adam.load_state_dict(state["adam"])
