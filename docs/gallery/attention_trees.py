"""
Wrong answers seen in the trees of attention
============================================

Every head of a language model draws a graph on the tokens. How long are the edges that attach the
answer to the prompt? Long ones are said to betray an invented answer (Bazarova et al., arXiv
2504.10063). All heads of all layers are measured in one call. Do they tell more than the probability
that the model itself states?
"""

import statistics
import time

import matplotlib.pyplot as plt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from _data import Table, difference, mean_and_spread, show, verdict
from _language import (
    ANSWER,
    LENGTH,
    PROMPT,
    LanguageModel,
    answer_loss,
    sentences,
)
from _style import use_style
from topreg import RipsFiltration

SEEDS = 5
STEPS = 150
SENTENCES = 300  # for each of training, choosing a head, and the test

use_style()
torch.set_flush_denormal(True)
torch.set_num_threads(1)  # such small networks gain nothing from more

# %%
# The recipe
# ----------
# Two tokens are as far apart as they attend little to each other. Tokens of the prompt have distance 0
# among themselves, so the spanning tree says how the answer hangs on to them: its length, per token of
# the answer. Graphs are distance matrices, and a batch of sentences, layers and heads is one batch.

filtration = RipsFiltration(metric="precomputed", check_values=False)


def divergences(attention: Tensor) -> Tensor:
    """Tree length of each head's graph, per token of the answer: (b, l, h, n, n) to (b, l, h)."""
    weights = torch.maximum(attention, attention.mT)
    distances = (1 - weights).flatten(0, 2)
    distances[:, PROMPT, PROMPT] = 0.0
    distances.diagonal(dim1=1, dim2=2).zero_()
    pairs = filtration.pairs(distances)
    lengths = filtration.diagram(pairs, distances)[:, 1].view(len(distances), -1)
    return lengths.sum(1).view(attention.shape[:3]) / LENGTH


# %%
# A model that errs
# -----------------
# It sorts the digits of a prompt and is not trained to the end. An answer is wrong if one of its digits
# is.


def train(seed: int) -> LanguageModel:
    """A model that sorts most prompts."""
    torch.manual_seed(seed)
    model, tokens = LanguageModel(), sentences(SENTENCES, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        batch = tokens[torch.randint(0, len(tokens), (32,))]
        loss = answer_loss(model(batch)[0], batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def scores(model: LanguageModel, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which answers are wrong, how unsure the model is, and each head's divergence."""
    prompts = sentences(SENTENCES, seed)[:, PROMPT]
    with torch.no_grad():
        tokens = prompts
        for _ in range(LENGTH):  # the model reads its own answer
            following = model(tokens)[0][:, -1].argmax(1, keepdim=True)
            tokens = torch.cat([tokens, following], 1)
        logits, _, attention = model(tokens)
        wrong = (tokens[:, ANSWER] != prompts[:, :LENGTH].sort(1).values).any(1)
        unsure = 1 - logits[:, LENGTH:-1].softmax(2).amax(2).log().sum(1).exp()
        return wrong, unsure, divergences(attention).flatten(1)


# %%
# The comparison
# --------------
# The head is chosen on other sentences of the same model. The area under the curve is 1/2 for a guess
# and 1 for a score that puts all wrong answers above all right ones.

by_tree, by_probability, rates = [], [], []
for seed in range(SEEDS):
    model = train(seed)
    wrong, _, heads = scores(model, 20_000 + seed)
    areas = [roc_auc_score(wrong, head) for head in heads.T]
    chosen = areas.index(max(areas))
    wrong, unsure, heads = scores(model, 10_000 + seed)
    by_tree.append(100 * float(roc_auc_score(wrong, heads[:, chosen])))
    by_probability.append(100 * float(roc_auc_score(wrong, unsure)))
    rates.append(100 * float(wrong.double().mean()))

plain, term = by_probability, by_tree
rows = [
    ["probability of the answer", mean_and_spread(plain, 1)],
    ["tree of one head", mean_and_spread(term, 1)],
    ["difference by seed", difference(term, plain, 1)],
]
note = f"{verdict(term, plain)} {statistics.mean(rates):.0f} % of the answers are wrong."
show(Table(["wrong answers found by", "area under the curve, %"], rows, note))

# %%
# Each head's divergence, right and wrong answers of the last model.

_, ax = plt.subplots()
names = [f"layer {i // 4 + 1},\nhead {i % 4 + 1}" for i in range(heads.shape[1])]
for wanted, name in ((False, "right"), (True, "wrong")):
    some = heads[wrong == wanted]
    ax.errorbar(
        [i + (0.1 if wanted else -0.1) for i in range(heads.shape[1])],
        some.mean(0),
        yerr=some.std(0),
        fmt="o",
        label=f"{name} answers",
    )
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="tree length per answer token")
ax.legend()
plt.show()

# %%
# What it costs
# -------------
# A step with and without all divergences of its batch, in turn; of each the fastest of many.

batch = sentences(32, 0)


def step(with_trees: bool) -> float:
    """Seconds of a forward and a backward pass."""
    start = time.perf_counter()
    logits, _, attention = model(batch)
    answer_loss(logits, batch).backward()
    if with_trees:
        divergences(attention.detach())
    return time.perf_counter() - start


times = list(zip(*[(step(False), step(True)) for _ in range(100)], strict=True))
without, with_trees = map(min, times)
cost = 100 * (with_trees / without - 1)
print(f"The trees of {32 * len(names)} graphs add {cost:.0f} % to a step.")

# %%
# What it shows
# -------------
# A head can be found whose trees are longer for wrong answers, so its graphs know something. The
# probability of the answer knows more: it finds wrong answers better for every seed, costs nothing
# and needs no head to be chosen. This is one task and a tiny model; on yours, look at the probability
# first.
