import importlib.util

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("fastapi") else ["*"]  # needs the extra serve


@pytest.fixture
def client(tmp_path):
    """A service over a gallery of vectors."""
    from support.services import people, served

    with served({"people": people(tmp_path)}, tmp_path) as made:
        yield made


@pytest.fixture
def pictures(tmp_path):
    """A service over a gallery of pictures, which keeps them."""
    from support.services import PictureEncoder, people, served

    encoder = PictureEncoder()
    with served({"shop": people(tmp_path, encoder=encoder)}, tmp_path, keep_pictures=True) as made:
        made.encoder = encoder
        yield made
