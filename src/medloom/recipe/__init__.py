"""The recipe: one TOML file that describes a model's whole life, and the only configuration there is."""

from __future__ import annotations

from .corpus import Cluster, Corpus, Source
from .part import RecipeError
from .recipe import Recipe, read_recipe
from .rules import GuidelineSource, Rules, registry
from .tables import (
           Base,
           Benchmark,
           Card,
           Evaluation,
           Export,
           Finetuning,
           Grid,
           Hardware,
           Layout,
           Lora,
           Mode,
           Normalise,
           OtherModel,
           Protocol,
           Shape,
           Training,
           World,
)

__all__ = [
    "Base", "Benchmark", "Card", "Cluster", "Corpus", "Evaluation", "Export", "Finetuning", "Grid", "GuidelineSource", "Hardware",
    "Layout", "Lora", "Mode", "Normalise", "OtherModel", "Protocol", "Recipe", "RecipeError", "Rules", "Shape", "Source", "Training",
    "World", "read_recipe", "registry",
]
