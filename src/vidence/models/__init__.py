"""Networks and detectors. Being listed means being tested: `tests/models/test_detectors.py` (classifiers) and
`test_reconstruction_settings.py` run over this table; those without a network have a file of tests of their own.
"""

from __future__ import annotations

from typing import Any

from vidence.models.asymmetric import fuse, strengthen
from vidence.models.autoencoder import AaCae, Bcae1, Bcae2, Cae, CaeAll, KsCae, SaCae, SeCae, SsaCae
from vidence.models.classifier_detector import ClassifierDetector
from vidence.models.cnn_rnn import CnnRnn, CnnRnnNetwork
from vidence.models.conv3d_autoencoder import Conv3dAE
from vidence.models.convlstm_classify import ConvLSTMClassify
from vidence.models.convlstm_predict import ConvLSTMPredict
from vidence.models.detector import Detector, FrameScores, Session, load_detector
from vidence.models.embedding_density import EmbeddingDensity
from vidence.models.ensemble import Ensemble
from vidence.models.ganomaly import GANomaly
from vidence.models.hybrid import Hybrid
from vidence.models.motion_attributes import MotionAttributes
from vidence.models.recurrent_autoencoder import ConvRecurrent
from vidence.models.stacked_autoencoder import ConvAE
from vidence.models.transformer import VideoTransformer, VideoTransformerNetwork
from vidence.models.trivial import MeanFrame, PreviousFrame, Random
from vidence.models.unet_predict import UNetPredict
from vidence.models.vae import VAE
from vidence.models.volume_classifier import I3D, R3D18, R2Plus1D18

DETECTORS: dict[str, type[Any]] = {
    "cnn-rnn": CnnRnn,
    "convlstm": ConvLSTMClassify,
    "r3d-18": R3D18,
    "r2plus1d-18": R2Plus1D18,
    "i3d": I3D,
    "video-transformer": VideoTransformer,
    "cae": Cae,
    "bcae1": Bcae1,
    "bcae2": Bcae2,
    "ks-cae": KsCae,
    "aa-cae": AaCae,
    "se-cae": SeCae,
    "sa-cae": SaCae,
    "ssa-cae": SsaCae,
    "cae-all": CaeAll,
    "vae": VAE,
    "conv3d-ae": Conv3dAE,
    "conv-ae": ConvAE,
    "convlstm-predict": ConvLSTMPredict,
    "unet-predict": UNetPredict,
    "ganomaly": GANomaly,
    "embedding": EmbeddingDensity,
    "ensemble": Ensemble,
    "random": Random,
    "mean-frame": MeanFrame,
    "previous-frame": PreviousFrame,
    "conv-recurrent": ConvRecurrent,
    "motion-attributes": MotionAttributes,
    "hybrid": Hybrid,
}

__all__ = [
    "DETECTORS",
    "I3D",
    "R3D18",
    "VAE",
    "AaCae",
    "Bcae1",
    "Bcae2",
    "Cae",
    "CaeAll",
    "ClassifierDetector",
    "CnnRnn",
    "CnnRnnNetwork",
    "Conv3dAE",
    "ConvAE",
    "ConvLSTMClassify",
    "ConvLSTMPredict",
    "ConvRecurrent",
    "Detector",
    "EmbeddingDensity",
    "Ensemble",
    "FrameScores",
    "GANomaly",
    "Hybrid",
    "KsCae",
    "MeanFrame",
    "MotionAttributes",
    "PreviousFrame",
    "R2Plus1D18",
    "Random",
    "SaCae",
    "SeCae",
    "Session",
    "SsaCae",
    "UNetPredict",
    "VideoTransformer",
    "VideoTransformerNetwork",
    "fuse",
    "load_detector",
    "strengthen",
]
