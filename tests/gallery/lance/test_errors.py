"""What errors of LanceDB say."""

import pytest

from trine.gallery.lance.errors import brief, explain


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Generic S3 error: <Code>SignatureDoesNotMatch</Code>", "refuses its credentials"),
        ("Generic S3 error: <Code>NoSuchBucket</Code>", "no such bucket"),
        ("LanceError(IO): No space left on device (os error 28)", "the disk is full"),
        ("error sending request for url (http://127.0.0.1:1/b)", "cannot be reached"),
        ("Permission denied (os error 13)", "cannot be written"),
        ("lance error: strange, /root/x/y.rs:12:3", r"could not be used \(lance error: strange\)"),
    ],
)
def test_an_error_says_what_to_do(text, meaning):
    error = explain(RuntimeError(text), "s3://bucket/people", wrote=True)
    assert "s3://bucket/people" in str(error)
    with pytest.raises(type(error), match=meaning):
        raise error
    assert "nothing of this call was written" in str(error)


def test_secrets_are_not_repeated(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hushhush")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    text = brief(RuntimeError("wrong: <AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId> hushhush\nmore"))
    assert text == "wrong: <AWSAccessKeyId>***</AWSAccessKeyId> ***"
