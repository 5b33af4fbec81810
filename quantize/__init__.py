# SPDX-License-Identifier: Apache-2.0
"""From a trained PyTorch Spikingformer to a fixed-point model: training, import, quantization."""
