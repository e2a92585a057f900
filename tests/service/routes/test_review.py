"""Calls to look instead of reading: triplets of judgements, and runs."""

from support.services import error_of, people, served
from trine.data import read_triplets


def test_triplets_of_a_gallery_with_a_name_beyond_latin_letters(tmp_path):
    with served({"люди": people(tmp_path)}, tmp_path) as client:
        gallery = "/v1/galleries/люди"
        client.post(
            f"{gallery}/judgements", json={"first": "ann/1", "second": "bob/1", "answer": "different"}
        )
        answer = client.get(f"{gallery}/triplets.csv")
        assert answer.headers["content-disposition"].endswith("''%D0%BB%D1%8E%D0%B4%D0%B8-triplets.csv")
        assert answer.text.splitlines() == [
            "anchor,positive,negative",
            "ann/1,ann/2,bob/1",
        ]


def test_triplets_run_nothing_in_a_spreadsheet_and_are_read_as_they_were(client, tmp_path):
    gallery, name = "/v1/galleries/people", "=1+1"
    client.post(f"{gallery}/enrol", json={"identity": "ann", "item": name, "embedding": [0.0, 1.0]})
    client.post(f"{gallery}/judgements", json={"first": name, "second": "bob/1", "answer": "different"})
    client.post(f"{gallery}/judgements", json={"first": name, "second": "ann/1", "answer": "same"})
    text = client.get(f"{gallery}/triplets.csv").text
    assert "'=1+1,ann/1,bob/1" in text.splitlines()
    (tmp_path / "triplets.csv").write_text(text)
    table = read_triplets(tmp_path / "triplets.csv")
    assert (name, "ann/1", "bob/1") in zip(table.anchor, table.positive, table.negative, strict=True)


def test_a_folder_of_runs_that_is_gone(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, runs=tmp_path / "gone") as client:
        assert client.get("/v1/runs").json() == {"runs": []}
        error_of(client.get("/v1/runs/any/log"), 404, "not_found")
        job = {"kind": "rebuild", "run": "any"}
        error_of(client.post("/v1/galleries/people/jobs", json=job), 404, "not_found")
