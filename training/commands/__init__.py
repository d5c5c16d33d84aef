"""The command line of training: one module a command."""

from training.commands.evaluate import evaluate
from training.commands.export_model import export_model
from training.commands.train import train

__all__ = ["evaluate", "export_model", "train"]
