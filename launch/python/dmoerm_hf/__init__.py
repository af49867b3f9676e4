"""Scores texts with a bundle of dmoerm in PyTorch, with the same rewards, routes and parts as `dmoerm score`.

    from dmoerm_hf import DmoermRewardModel

    model = DmoermRewardModel.from_pretrained("runs/quickstart/bundle")
    for result in model.score("Where is my order?", ["On its way.", "No idea."]):
        print(result.reward, result.scored_by, result.points)
"""
from .errors import BundleError
from .model import DmoermRewardModel, Result
from .router import Route
from .texts import Message, Prompt

__all__ = ["BundleError", "DmoermRewardModel", "Message", "Prompt", "Result", "Route"]
