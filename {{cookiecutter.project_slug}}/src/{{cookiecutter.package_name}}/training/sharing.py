"""How the processes that fine-tune one model share it: each has a whole copy (DDP), or a part of it (FSDP).

Parts are for a model too large for one card: Zhao et al. 2023, arXiv:2304.11277.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..common import distributed
from ..modeling.classifier import Classifier

State = tuple[dict[str, Any], dict[str, Any]]  # of model and optimizer, whole


class Copies:
    """A whole copy in every process; the backward pass takes the mean of all gradients."""

    def __init__(self, model: Classifier, device: torch.device) -> None:
        self.model = model.to(device)
        self.in_training: nn.Module = model
        if torch.distributed.is_initialized():
            # Buckets that are never arranged anew keep the order in which gradients are summed, after a kill too.
            self.in_training = DistributedDataParallel(model, find_unused_parameters=True)

    @contextmanager
    def whole(self) -> Iterator[Classifier]:
        """The model with all of its weights."""
        yield self.model

    def state(self, optimizer: torch.optim.Optimizer) -> State:
        """The state of model and optimizer."""
        return self.model.state_dict(), optimizer.state_dict()

    def load(self, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Put a state back."""
        self.model.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])


class Parts:
    """A part of every layer in each process: of weights, gradients and optimizer state.

    A layer is put together while it is computed. The interface is that of `Copies`; all processes must call it.
    """

    def __init__(self, model: Classifier, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.device = device
        self.copy = deepcopy(model)
        mesh = init_device_mesh(device.type, (distributed.count(),))
        stacks = [module for module in model.encoder.modules() if isinstance(module, nn.ModuleList)]
        for layer in max(stacks, key=len, default=()):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        self.model = self.in_training = model.to(device)

    @contextmanager
    def whole(self) -> Iterator[Classifier]:
        """The model with all of its weights, in every process: without gradients they take a quarter of the memory."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        self.copy.load_state_dict(get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True)))
        yield self.copy.to(self.device)
        self.copy.to("cpu")

    def state(self, optimizer: torch.optim.Optimizer) -> State:
        """The state of model and optimizer; empty but for the first process."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        return get_state_dict(self.model, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    def load(self, optimizer: torch.optim.Optimizer, state: State) -> None:
        """Take this process's part of a state."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        options = StateDictOptions(full_state_dict=True)
        set_state_dict(self.model, optimizer, model_state_dict=state[0], optim_state_dict=state[1], options=options)


def share(model: Classifier, device: torch.device, *, sharded: bool) -> Copies | Parts:
    """Let the processes of this stage train one model."""
    return Parts(model, device) if sharded and distributed.count() > 1 else Copies(model, device)
