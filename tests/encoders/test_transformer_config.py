"""Every supported architecture, from a folder to a saved model; and what is not among the known keys."""

import numpy as np
import pytest
import torch

from trine.data import Texts
from trine.encoders import EncoderRecipe, build_encoder, load, save
from trine.encoders.transformer_config import ARCHITECTURES, known_config
from trine.errors import ModelError

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "where", "is", "my", "card"]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "embedding_size": 8,
    "dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 32,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 14,
    "pad_token_id": 1,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small sentence encoder of each architecture, as transformers saves one, and the network itself."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made = {}
    for name, keys in ARCHITECTURES.items():
        place = tmp_path_factory.mktemp(name)
        tokenizer.save(str(place / "tokenizer.json"))
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(name, **{key: SMALL[key] for key in SMALL if key in keys})
        network = transformers.AutoModel.from_config(config).eval()
        network.save_pretrained(place)
        made[name] = place, network
    return made


def encoder_of(folder):
    recipe = EncoderRecipe(network="sentence", weights=str(folder), dimension=4)
    return build_encoder(Texts(("my",)), recipe=recipe)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_folder_that_transformers_saved_is_read(name, folders, tmp_path):
    folder, network = folders[name]
    encoder = encoder_of(folder)
    save(encoder, tmp_path / "model")
    again = load(tmp_path / "model")
    text = "where is my card"
    with torch.inference_mode():
        states = network(input_ids=torch.tensor([[4, 5, 6, 7]])).last_hidden_state[0]
    assert np.allclose(again.features([text])[0], states.mean(0), atol=1e-6)
    assert again.fingerprint == encoder.fingerprint
    assert again.settings.features == 16
    longest = 12 if name in ("camembert", "mpnet", "roberta", "xlm-roberta") else 14
    assert again.settings.shape == (longest,)
    assert np.isfinite(again.embed([text * 20, text + " is my card" * 9])).all(), "positions suffice"


def refusal(**config):
    with pytest.raises(ModelError) as raised:
        known_config({"model_type": "bert", **config}, source="config.json")
    return str(raised.value)


def test_only_known_keys_with_known_values():
    assert "has the key 'auto_map'" in refusal(auto_map={})
    assert "has '1000000000' for hidden_size, which is out of range" in refusal(hidden_size=10**9)
    assert "has 'True' for is_decoder, and only False" in refusal(is_decoder=True)
    assert "'relative_key' for position_embedding_type" in refusal(position_embedding_type="relative_key")
    assert "model_type 'gpt2', which is not supported; known: albert" in refusal(model_type="gpt2")
    assert "no model_type" in refusal(model_type=None)
    assert len(refusal(**{"x" * 10**5: 1})) < 200
    kept = {"model_type": "bert", "hidden_size": 8, "hidden_act": "gelu"}
    ignored = {"architectures": ["A"], "_name_or_path": "/etc/passwd", "is_decoder": False, "use_cache": True}
    assert known_config({**kept, **ignored}, source="config.json") == kept
