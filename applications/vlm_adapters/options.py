"""What a run is: validated options, each declared once, frozen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from .plugs import is_plug, plug_sha256

ADAPTER_KINDS = (
    "zero_shot",
    "linear_probe",
    "taskres",
    "tip_adapter",
    "tip_adapter_f",
    "clip_adapter",
)
TRAINED_KINDS = ("taskres", "tip_adapter_f", "clip_adapter")
PROTOCOLS = ("last", "best_val", "last+val_search")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Factor = Annotated[float, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


def suggestion(value: object, options: Iterable[str]) -> str:
    """Return a question that names the option closest to a value, if one is close."""
    near = difflib.get_close_matches(str(value), list(options), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def one_of(where: str, value: str, options: Iterable[str]) -> None:
    """Raise if a value, which errors call ``where``, is none of the options."""
    options = list(options)
    if value not in options:
        listed = ", ".join(f'"{option}"' for option in options)
        raise ValueError(
            f"`{where}` should be one of {listed}. Got {value!r}.{suggestion(value, options)}"
        )


@dataclass(frozen=True, config=STRICT)
class AdapterOptions:
    """Which adapter, and its fixed factors."""

    kind: str  # of ADAPTER_KINDS; or a class of the user: "file.py:Name" or "module:Name"
    # TaskRes: factor of the learned residual. CLIP-Adapter: share of the adapted features.
    residual_scale: float = 1.0
    # Tip-Adapter: weight of the cache's prediction, in units of a hundredth of the logit scale, so
    # that published values (for a scale of 100) keep their meaning; sharpness of the affinity; and
    # the upper ends of the search over both.
    cache_weight: Factor = 1.0
    sharpness: Factor = 1.0
    search_sharpness: Factor = 12.0
    search_cache_weight: Factor = 5.0
    # TaskRes: which views of the constraint have unit length.
    normalize: Literal["both", "image"] = "both"
    # Numbers of an adapter of the user.
    settings: dict[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise if the adapter is neither shipped nor a part of the user."""
        if not is_plug(self.kind):
            one_of("adapter.kind", self.kind, ADAPTER_KINDS)


@dataclass(frozen=True, config=STRICT)
class TextOptions:
    """Where the class texts come from."""

    # "tuned": the backbone's text projection is trained on the few-shot images first (HC* of the
    # paper, "enhanced" of TaskRes), or read from a checkpoint of TaskRes's enhanced bases, in whose
    # path {shots} stands for their number.
    projection: Literal["frozen", "tuned"] = "frozen"
    checkpoint: str = ""
    # Underscores in class names: TaskRes's code keeps them.
    underscores: Literal["replaced", "kept"] = "replaced"
    # Adam's, for the projection, with a cosine over the epochs.
    learning_rate: Factor = 1e-3
    epochs: Size = 20
    batch_size: Size = 256


@dataclass(frozen=True, config=STRICT)
class TrainingOptions:
    """How the adapter's parameters are found."""

    # "adam" has an L2 penalty in the gradient, "adamw" decoupled decay; "adamw_half" is AdamW in
    # float16, as the official codes run it: see `vlm_adapters.optimizers.HalfAdamW`.
    optimizer: Literal["adam", "adamw", "adamw_half"] = "adam"
    learning_rate: Factor = 1e-3
    weight_decay: Factor = 0.0
    eps: Factor = 1e-8
    # From eight shots on; 0 stands for `epochs`. A preset or an override that sets `epochs` alone
    # sets them for all shot counts.
    epochs: Size = 100
    epochs_from_8_shots: Count = 0
    batch_size: Size = 256
    drop_last: bool = False  # the last, smaller batch where there is a full one
    # "epoch_cosine": one warm-up epoch, then a cosine by epochs (TaskRes); "step_cosine": a cosine
    # by steps (Tip-Adapter).
    schedule: Literal["epoch_cosine", "step_cosine"] = "epoch_cosine"
    warmup_learning_rate: Factor = 1e-5


@dataclass(frozen=True, config=STRICT)
class ConstraintOptions:
    """The homology-consistency constraint."""

    # With "constant" the factor of the constraint (the paper's eta), in units of the logit scale
    # (the paper's 0.15) or absolute (its 15); with "ratio" the ratio of gradient norms (its omega),
    # taken over the scope `norm`. 0 leaves the constraint out.
    weight: Factor = 0.0
    unit: Literal["logit_scale", "absolute"] = "logit_scale"
    # Of its two terms; in the paper 1 and lambda.
    coincidence_weight: Factor = 1.0
    perturbation_weight: Factor = 0.0
    combination: Literal["constant", "ratio"] = "constant"
    norm: Literal["global", "per_parameter", "rowwise"] = "global"
    # Of the track coincidence. Above dimension 0, "aligned" turns a death edge that opposes its
    # birth edge among the image features; "index" orients both as equation 4 does.
    dimensions: tuple[int, ...] = (0,)
    orientation: Literal["aligned", "index"] = "aligned"
    # Edges of the spanning tree between images of one class, before both terms.
    same_label_edges: Literal["drop", "keep"] = "drop"
    # `undefined` of `topreg.track_coincidence` and of `topreg.deviating_perturbation`, whose
    # options `related` and `match_norms` are.
    undirected: Literal["skip", "zero"] = "skip"
    related: Literal["endpoints", "all"] = "all"
    unrelated: Literal["skip", "zero"] = "skip"
    match_norms: bool = True
    # Earlier batches of the epoch whose features are joined: those of the batch's classes or all,
    # with or without the pairs that lie within the memory.
    memory_batches: Count = 0
    memory_classes: Literal["current", "all"] = "current"
    memory_pairs: Literal["keep", "drop"] = "keep"
    # "float16": distances are rounded before they are ordered, as in the authors' code.
    distance_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        """Raise if dimension 0 is not the first, or one is there twice."""
        if self.dimensions[:1] != (0,) or len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(
                "`constraint.dimensions` should begin with 0 and hold each once. "
                f"Got {list(self.dimensions)}."
            )


@dataclass(frozen=True, config=STRICT)
class RegularizerOptions:
    """One more regulariser, added to the cross-entropy; a weight of 0 leaves it out."""

    # A loss of topreg across two spaces, such as "SignatureLoss", or a function of the user,
    # "file.py:name" or "module:name".
    use: str = ""
    weight: Factor = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise if a weight has no regulariser."""
        if self.weight and not self.use:
            raise ValueError(
                "`regularizer.use` should name a regulariser. Got none, with a weight of "
                f"{self.weight}. Name one, or set `regularizer.weight` to 0."
            )


@dataclass(frozen=True, config=STRICT)
class Method:
    """One row of a table: an adapter, its training, its constraint."""

    title: str  # in tables and figures
    adapter: AdapterOptions
    protocol: str = "last"  # the headline's; of PROTOCOLS
    text: TextOptions = TextOptions()
    training: TrainingOptions = TrainingOptions()
    constraint: ConstraintOptions = ConstraintOptions()
    regularizer: RegularizerOptions = RegularizerOptions()

    def __post_init__(self) -> None:
        """Raise if the adapter does not have the protocol, or cannot be constrained."""
        kind = self.adapter.kind
        if is_plug(kind):  # its class alone knows
            one_of("protocol", self.protocol, PROTOCOLS)
            return
        last, best_val, search = PROTOCOLS
        best = [best_val] * (kind in TRAINED_KINDS)
        one_of("protocol", self.protocol, [last, *best, *[search] * kind.startswith("tip_adapter")])
        for section in ("constraint", "regularizer"):
            weight = getattr(self, section).weight
            if weight and kind not in TRAINED_KINDS:
                raise ValueError(
                    f'`{section}.weight` should be 0 with `adapter.kind = "{kind}"`, whose '
                    f"features are not trained by gradients. Got {weight}."
                )


def plug_hashes(method: Method) -> list[str]:
    """Hash the code of the user on which a method depends."""
    return [plug_sha256(spec) for spec in (method.adapter.kind, method.regularizer.use)]
