"""
A broken ring, closed by its topology
=====================================

A segmentation may have nearly all pixels right and still the wrong shape: a vessel with a gap, a cell
without a closed wall. Where does Betti matching find the fault? Which pixels does its gradient reach,
and does gradient descent mend it?
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from _data import Table, show
from _style import GREY, WIDTH, use_style
from topreg import CubicalFiltration, betti_matching_loss, plot
from topreg.image_metrics import BettiNumbers

SIDE = 48
STEPS = 60
RATE = 0.3

use_style()

# %%
# Mask and prediction
# -------------------
# The mask is a ring. The prediction is a smooth field of logits with nearly the same shape and two
# faults: the ring has a gap, and there is an island inside it that is not in the mask.

axis = torch.linspace(-1, 1, SIDE)
y, x = torch.meshgrid(axis, axis, indexing="ij")
radius, angle = (x**2 + y**2).sqrt(), torch.atan2(y, x)
mask = ((radius > 0.5) & (radius < 0.72)).float()

generator = torch.Generator().manual_seed(0)
noise = torch.randn(1, 1, SIDE, SIDE, generator=generator)
for _ in range(3):  # means of 3 x 3 pixels, three times
    noise = torch.nn.functional.avg_pool2d(noise, 3, 1, 1, count_include_pad=False)
logits = (4 - 330 * (radius - 0.61) ** 2).clamp(min=-3) + 2 * noise[0, 0]
logits = logits - 6 * torch.exp(-((angle / 0.2) ** 2)) * mask
logits = logits + 5 * torch.exp(-(x**2 + y**2) / 0.015)


def betti_numbers(image: Tensor) -> tuple[int, int]:
    """Count components and holes of the pixels above 1/2."""
    metric = BettiNumbers()
    metric.update(image)
    components, holes = metric.compute().tolist()
    return int(components), int(holes)


# %%
# Critical pixels
# ---------------
# Lower a threshold from 1 to 0: bright pixels come first. A component is born at its brightest pixel
# and dies at the pixel where it meets an older one; a hole is born at the pixel that closes its ring
# and dies at the darkest pixel inside. Each class is one pair of pixels. The figure shows the classes
# whose persistence is at least a tenth of the range. The oldest component never dies.

filtration = CubicalFiltration(superlevel=True)
prediction = torch.sigmoid(logits)
figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.0))
names = "components", "holes"
found = filtration.all_pairs(prediction, 1)
for ax, pairs, name in zip(axes, found, names, strict=True):
    births, deaths = filtration.diagram(pairs, prediction).T
    long = pairs.select(deaths - births >= 0.1)
    plot.critical_pixels(prediction, long, ax=ax).set_title(name)
    print(f"{name}: {len(pairs)} pairs, {len(long)} drawn")
plt.show()

# %%
# The gradient
# ------------
# Betti matching compares each class of the prediction with the class of the mask at the same place.
# A class with a counterpart moves to the birth and death of that; a class without one is shortened from
# both ends. The left panel shows the step against the gradient, in the probabilities: purple pixels
# rise, orange ones fall. The ring rises at the one pixel that closes it. The island falls at its top and
# rises at the pixel where it meets the ring. The right panel shows the sizes of all steps that are not
# zero: few are large.

moving = prediction.clone().requires_grad_()
betti_matching_loss(moving, mask).backward()
step = -moving.grad
touched = int((step != 0).sum())
print(f"pixels with a gradient: {touched} of {step.numel()}")

figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8))
left, right = axes
largest = float(step.abs().max())
shown = left.imshow(step, cmap="PuOr", vmin=-largest, vmax=largest)
left.contour(mask, levels=[0.5], colors=GREY, linewidths=0.8)
left.set(title="step against the gradient", xticks=[], yticks=[])
figure.colorbar(shown, ax=left, shrink=0.8)
right.hist(step[step != 0].abs().log10(), bins=20)
right.set(title=f"{touched} pixels move", xlabel="log10 of the size")
right.set(ylabel="pixels")
plt.show()

# %%
# A few steps
# -----------
# Descend on the logits with Adam, with only this term: no pixel has its label in the loss.

values = logits.clone().requires_grad_()
optimizer = torch.optim.Adam([values], lr=RATE)
for _ in range(STEPS):
    loss = betti_matching_loss(values, mask, logits=True)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
after = torch.sigmoid(values.detach())

figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7))
images = {"mask": mask, "before": prediction, "after": after}
for ax, (name, image) in zip(axes, images.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.contour(image > 0.5, levels=[0.5], colors="C1", linewidths=1)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %%
# Orange lines surround the pixels above one half.

rows = []
for name, image in images.items():
    components, holes = betti_numbers(image)
    wrong = int(((image > 0.5) != (mask > 0.5)).sum())
    loss = betti_matching_loss(image, mask).item()
    rows.append([name, str(components), str(holes), f"{loss:.3f}", str(wrong)])
show(Table(["", "components", "holes", "loss", "wrong pixels"], rows))

# %%
# What it shows
# -------------
# The term finds the gap and the island and gives the image the topology of the mask, and nothing else.
# A thin bridge closes the ring. The island is not removed: a thin path connects it to the
# ring, which makes it part of the one component that the mask has. So the number of wrong pixels may
# not fall. In training the term is added to a loss on pixels, as the guide on segmentation shows, and
# a network cannot move single pixels as freely as these steps do.
