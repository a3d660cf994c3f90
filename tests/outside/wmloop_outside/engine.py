"""The engine: it steps the copies one after the other, in this process."""

import numpy as np

from wmloop.envs import PoolStep
from wmloop.envs.bounded import BoundedEnv
from wmloop.envs.steps import UNLIMITED


class Here:
    """A wmloop.envs.engine.Envs without processes."""

    def __init__(self, config, num_envs, max_unrewarded=None, output=None):
        self.num_envs = num_envs
        self._copies = [BoundedEnv(config, max_unrewarded or UNLIMITED) for _ in range(num_envs)]
        env = self._copies[0].env
        self.actions, self.observations = env.actions, env.observations
        self._blank = np.zeros(self.observations.shape, self.observations.dtype)
        self._sent = []

    def reset(self, seeds, decisions=None):
        self._sent.clear()
        for copy, seed, limit in zip(self._copies, seeds, decisions or [None] * self.num_envs, strict=True):
            if seed is not None:
                copy.reset(seed, limit or UNLIMITED)
        return self._seen(range(self.num_envs))

    def send(self, copies, actions):
        self._sent.append((copies, actions))

    def receive(self):
        copies, actions = self._sent.pop(0)
        done = [self._copies[copy].step(action) for copy, action in zip(copies, actions, strict=True)]
        types = (np.float32, np.bool_, np.bool_, np.int64, np.int8)
        parts = (np.array(part, dtype) for part, dtype in zip(zip(*done, strict=True), types, strict=True))
        return copies, PoolStep(self._seen(copies), *parts)

    def pin_thread(self, copies):
        pass

    def close(self):
        for copy in self._copies:
            copy.env.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _seen(self, copies):
        return np.stack([getattr(self._copies[copy], "observation", self._blank) for copy in copies])
