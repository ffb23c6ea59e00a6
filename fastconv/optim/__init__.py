"""Optimisers: rules that turn gradients into steps, each one pass of a compiled kernel over memory.

With p a parameter, g its gradient (plus ``weight_decay * p``, except in AdamW) and lr the learning rate:

    SGD       v = momentum * v + g;  p -= lr * v              Nesterov: p -= lr * (g + momentum * v)
    RMSprop   s = alpha * s + (1 - alpha) * g^2;  u = g / (sqrt(s) + eps)
              v = momentum * v + u;  p -= lr * v
    Adam      m = beta1 * m + (1 - beta1) * g;  s = beta2 * s + (1 - beta2) * g^2
              p -= lr * (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)      at step t = 1, 2, ...
    AdamW     Adam, with p *= 1 - lr * weight_decay before

These are PyTorch's definitions, so that recipes carry over.

References
----------
I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep
learning", ICML 2013. T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", Coursera, 2012.
D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
I. Loshchilov, F. Hutter, "Decoupled weight decay regularization" (AdamW) and "SGDR" (cosine decay), ICLR 2019
and 2017.
"""

from fastconv.optim.adam import Adam, AdamW
from fastconv.optim.gradient_descent import SGD, RMSprop
from fastconv.optim.optimizer import Optimizer, OptimizerState
from fastconv.optim.schedules import constant, cosine_decay, step_decay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "constant",
    "cosine_decay",
    "step_decay",
]
