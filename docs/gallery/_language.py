"""A language of sorted digits, and a language model small enough to train in a second."""

import torch
from torch import Tensor, nn

LENGTH = 6  # digits of a prompt, and of its answer
MARK = 10  # the token between prompt and answer
PROMPT = slice(0, LENGTH + 1)
ANSWER = slice(LENGTH + 1, 2 * LENGTH + 1)
LABELS = torch.tensor(
    [0] * (LENGTH + 1) + [1] * LENGTH
)  # prompt or answer, by token


def sentences(count: int, seed: int) -> Tensor:
    """Random digits, a mark, and the same digits in order: tokens (count, 13)."""
    generator = torch.Generator().manual_seed(seed)
    prompts = torch.randint(0, 10, (count, LENGTH), generator=generator)
    mark = torch.full((count, 1), MARK)
    return torch.cat([prompts, mark, prompts.sort(1).values], 1)


class Block(nn.Module):
    """Attention and a perceptron, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States (b, n, d) and attention (b, heads, n, n)."""
        x = self.first(hidden)
        moved, attention = self.attention(
            x, x, x, attn_mask=mask, average_attn_weights=False
        )
        hidden = hidden + moved
        return hidden + self.mlp(self.second(hidden)), attention


class LanguageModel(nn.Module):
    """A causal transformer over 11 tokens."""

    def __init__(self, width: int = 32, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(MARK + 1, width)
        self.places = nn.Parameter(0.1 * torch.randn(2 * LENGTH + 1, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (b, n, 10), states (b, n, d) and attention (b, layers, heads, n, n)."""
        n = tokens.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        hidden = self.tokens(tokens) + self.places[:n]
        attention = []
        for block in self.blocks:
            hidden, weights = block(hidden, mask)
            attention.append(weights)
        hidden = self.norm(hidden)
        return self.head(hidden), hidden, torch.stack(attention, 1)


def answer_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of the answer, each token from the ones before it."""
    wanted = tokens[:, ANSWER]
    return nn.functional.cross_entropy(logits[:, LENGTH:-1].mT, wanted)


def guesses(logits: Tensor) -> Tensor:
    """The likeliest answer (b, 6), each token from the right ones before it."""
    return logits[:, LENGTH:-1].argmax(2)
