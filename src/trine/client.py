"""A gallery that a service holds: the calls of `Gallery`, over HTTP.

Only Python's own library is needed, so a program that asks a service needs no extra.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, final
from urllib.parse import quote, unquote, urlencode, urlsplit

import numpy as np
from torch import Tensor

from trine.data.load import as_dataset
from trine.data.pixels import is_pillow
from trine.errors import CalibrationError, GalleryError, InputError, SettingError, TrineError, require
from trine.gallery import (
    Clusters,
    Enrolment,
    Entry,
    Filter,
    GalleryCalibration,
    Hit,
    Identification,
    KnownClusters,
    QuantizationRecall,
    RebuildResult,
    Scoring,
    Stats,
    Threshold,
    Verification,
)
from trine.gallery.clusters import NOTHING_KNOWN, Linkage
from trine.gallery.decision import Candidate
from trine.gallery.embedding import Place, entries_of
from trine.gallery.entries import Vector, Vectors, check_at_least, check_items, metadata_text
from trine.gallery.errors import UnknownNameError, UnusableStoreError
from trine.gallery.filters import Among, Between
from trine.plain_json import parse_json
from trine.rates import Promise, RateCurve

Progress = Callable[[int], None]

CHUNK = 200
"""How many items are sent together."""

TRIES = 4
"""How often a call is tried that a busy service refuses."""

LONGEST_WAIT = 10.0
"""The most seconds to wait between two tries."""

DIGITS = 4_300


class ServiceError(TrineError):
    """A service cannot be reached, refuses a call, or fails.

    Attributes:
        code: The code of the error, such as "rate_limit"; "unreachable" if no answer came.
        hint: What to do.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code, self.hint = code, hint


class UnusableServiceError(ServiceError, UnusableStoreError):
    """The service, or the file or server of its gallery, cannot be used: as a gallery, a `GalleryError`."""


class NotRemoteError(ServiceError, AttributeError):
    """A gallery has this call, and a service does not: it needs the files of the machine that serves."""


_ELSEWHERE = {
    "sync": "run trine enrol DATA --sync there, or trine serve FOLDER, which follows the folder",
    "sync_dataset": "run trine enrol DATA --sync there, or trine serve FOLDER, which follows the folder",
    "backup": "run trine gallery backup there, also while it is served",
    "restore": "stop the service, and run trine gallery restore there",
    "check": "run trine gallery check there, also while it is served",
    "repair": "run trine gallery repair there",
    "repair_binding": "run trine gallery repair there",
    "compare": "run trine gallery compare there, also while it is served",
    "copy_to": "run trine gallery copy there, also while it is served",
    "export_parquet": "run trine gallery export there, also while it is served",
    "import_parquet": "run trine gallery import there, also while it is served",
    "open_for_table": "run trine gallery import there",
    "crops": "open the gallery itself there",
    "revision": "open the gallery itself there",
    "binding": "GET /v1/galleries/GALLERY/model tells about it",
    "encoder": "GET /v1/galleries/GALLERY/model tells about it",
    "model": "GET /v1/galleries/GALLERY/model tells about it",
    "use_encoder": "choose another with rebuild",
}
"""What a gallery has and a service has not, and what to do instead."""


@dataclass(frozen=True)
class FaceAnswer:
    """Who a face on a picture is.

    Attributes:
        answer: The answer.
        box: Left, top, width and height of the face, in pixels; None in a gallery that is not of faces.
        problems: Why the answer is doubtful, a sentence each.
    """

    answer: Identification
    box: tuple[float, float, float, float] | None
    problems: tuple[str, ...] = ()


@final
class Client:
    """A gallery of a service; its calls, their arguments and their results are those of `Gallery`.

    Several threads may share a client.

    Args:
        address: `http://host:port/GALLERY`; the gallery may be left out if the service has only one.
        key: The key, if the service needs one; see `trine keys`.
        timeout: How many seconds to wait for an answer.
        context: For `https`, which certificates are trusted; by default those of the system.

    Raises:
        InputError: The address is none.
        ServiceError: The service cannot be reached, or the key is missing or wrong.
        GalleryError: The service has no such gallery, or several and none is named.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(str(address))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"the address of a service is http://host:port/GALLERY, given {str(address)[:80]!r}"
            )
        self._parts, self._key, self._timeout, self._context = parts, key, timeout, context
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._facts: dict[str, Any] | None = None
        self._asked_limits: dict[str, int] | None = None
        self._name = unquote(parts.path.strip("/"))
        try:
            self._find(address)
        except BaseException:
            self.close()
            raise

    def _find(self, address: str) -> None:
        """Finds the gallery."""
        if not self._name:
            names = [one["name"] for one in self._call("GET", "/v1/galleries")["galleries"]]
            if len(names) != 1:
                listed = ", ".join(names) or "none that this key may use"
                raise GalleryError(
                    f"name one gallery of the service in the address {address}/GALLERY; it has: {listed}"
                )
            self._name = names[0]
        self._base = f"/v1/galleries/{quote(self._name, safe='')}"
        self._about()

    @classmethod
    def open(cls, address: str, **settings: Any) -> Self:
        """Opens a gallery of a service, as `Gallery.open` opens a file; see `Client`."""
        return cls(address, **settings)

    @property
    def address(self) -> str:
        """The address of the gallery."""
        return f"{self._parts.scheme}://{self._parts.netloc}/{quote(self._name)}"

    @property
    def threshold(self) -> Threshold | None:
        """The threshold of verifications, without its curve of probabilities."""
        facts = self._call("GET", f"{self._base}/model")
        if facts["threshold"] is None:
            return None
        return Threshold(facts["threshold"], _promise(facts["promise"]))

    def enrol(
        self,
        identity: str,
        item: str,
        *,
        embedding: Vector | None = None,
        content: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one item; see `Gallery.enrol`."""
        self._post("enrol", self._new(Entry(identity, item, embedding, content, metadata or {})))

    def enrol_many(
        self, entries: Iterable[Entry], *, chunk: int = CHUNK, progress: Progress | None = None
    ) -> Enrolment:
        """Adds a stream of items chunk by chunk; see `Gallery.enrol_many`."""
        check_at_least(1, chunk=chunk)
        limits = self._limits()
        most = min(chunk, limits["items"])
        done, seen = Enrolment(), 0
        for part in _chunks((self._new(entry) for entry in entries), most, limits["body"] // 2):
            found = self._post("enrol_many", {"entries": part})
            done += Enrolment(found["new"], found["replaced"], found["unchanged"])
            seen += len(part)
            if progress is not None:
                progress(seen)
        return done

    def enrol_dataset(
        self,
        dataset: Any,
        *,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> Enrolment:
        """Sends every item of a dataset, with its columns as metadata; see `Gallery.enrol_dataset`."""
        items = as_dataset(dataset, "enrol_dataset")
        return self.enrol_many(entries_of(items, metadata or {}, None), chunk=chunk, progress=progress)

    def get(self, item: str) -> Entry:
        """Returns one item with its embedding and metadata; see `Gallery.get`."""
        return _entry(self._call("GET", f"{self._base}/item", {"name": item}))

    def items(
        self,
        identity: str | None = None,
        *,
        cluster: int | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Entry]:
        """Returns one page of items in order of their names; see `Gallery.items`."""
        check_at_least(1, limit=limit)
        found: list[Entry] = []
        while len(found) < limit:
            wanted = {"identity": identity, "cluster": cluster, "after": after, "embeddings": "true"}
            page = self._call(
                "GET", f"{self._base}/items", {**wanted, "limit": min(limit - len(found), 1_000)}
            )
            found += map(_entry, page["items"])
            if page["next"] is None:
                break
            after = page["next"]
        return found

    def entries(self, identity: str | None = None) -> Iterator[Entry]:
        """Yields the items of one identity or of all; see `Gallery.entries`."""
        page = self.items(identity, limit=500)
        while page:
            yield from page
            page = self.items(identity, after=page[-1].item, limit=500) if len(page) == 500 else []

    def identities(self) -> dict[str, int]:
        """Returns the number of items of each identity; see `Gallery.identities`."""
        found: dict[str, int] = {}
        after: str | None = ""
        while after is not None:
            page = self._call("GET", f"{self._base}/identities", {"after": after, "limit": 1_000})
            found |= {one["identity"]: one["items"] for one in page["identities"]}
            after = page["next"]
        return found

    def __len__(self) -> int:
        return int(self._call("GET", self._base)["items"])

    def verify(
        self,
        a: Any = None,
        b: Any = None,
        *,
        embedding: Vector | None = None,
        other_embedding: Vector | None = None,
        identity: str | None = None,
        threshold: float | None = None,
    ) -> Verification:
        """Are these two the same, or is this who they claim to be? See `Gallery.verify`."""
        second = None if b is None and other_embedding is None else self._probe(b, other_embedding)
        asked = {"a": self._probe(a, embedding), "b": second, "identity": identity, "threshold": threshold}
        return Verification(**_decided(self._post("verify", asked), Verification))

    def identify(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> Identification:
        """Who is this, if anybody? Of several faces on a picture the largest; see `Gallery.identify`."""
        check_at_least(1, candidates=candidates, top=top)
        how = {"threshold": threshold, "candidates": candidates, "scoring": scoring, "top": top}
        asked = {**self._probe(item, embedding), **how, "quality": quality}
        return _identification(self._post("identify", asked)["answers"][0])

    def identify_faces(self, item: Any, **settings: Any) -> list[FaceAnswer]:
        """Who are the people on this picture? One answer for each face, the largest first.

        Args:
            item: The picture.
            settings: As for `identify`.
        """
        answers = self._post("identify", {**self._probe(item, None), **settings})["answers"]
        found = []
        for one in answers:
            face = one["face"]
            box = None if face is None else tuple(face["box"])
            problems = () if face is None else tuple(face["problems"])
            found.append(FaceAnswer(_identification(one), box, problems))
        return found

    def identify_many(
        self,
        items: Sequence[Any] | None = None,
        *,
        embeddings: Vectors | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> list[Identification]:
        """Identifies several probes; see `Gallery.identify_many`."""
        if (items is None) == (embeddings is None):
            raise InputError("pass either items for the encoder, or their embeddings")
        check_at_least(1, candidates=candidates, top=top)
        given: Any = items if embeddings is None else embeddings
        probes = (
            self._probe(one, None) if embeddings is None else self._probe(None, one)
            for one in (given[at] for at in range(len(given)))
        )
        limits = self._limits()
        how = {"threshold": threshold, "candidates": candidates, "scoring": scoring, "top": top}
        found: list[Identification] = []
        for part in _chunks(probes, min(CHUNK, limits["items"]), limits["body"] // 2):
            asked = {"probes": part, **how, "quality": quality}
            found += map(_identification, self._post("identify_many", asked)["answers"])
        return found

    def search(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        k: int = 10,
        where: Mapping[str, Any] | Filter | None = None,
        exclude: Sequence[str] = (),
        offset: int = 0,
    ) -> list[Hit]:
        """Finds the items most similar to a probe; see `Gallery.search`."""
        check_at_least(1, k=k)
        check_at_least(0, offset=offset)
        asked = {
            **self._probe(item, embedding),
            "k": k,
            "where": _conditions(where),
            "exclude": check_items(exclude, "exclude"),
            "offset": offset,
        }
        return [Hit(**hit) for hit in self._post("search", asked)["hits"]]

    def recommend(
        self,
        like: Sequence[str],
        *,
        unlike: Sequence[str] = (),
        k: int = 10,
        diversity: float = 0.0,
        where: Mapping[str, Any] | Filter | None = None,
    ) -> list[Hit]:
        """Finds items near some and away from others; see `Gallery.recommend`."""
        check_at_least(1, k=k)
        asked = {
            "like": check_items(like, "like"),
            "unlike": check_items(unlike, "unlike"),
            "k": k,
            "diversity": diversity,
            "where": _conditions(where),
        }
        return [Hit(**hit) for hit in self._post("recommend", asked)["hits"]]

    def cluster(
        self,
        *,
        threshold: float | None = None,
        neighbours: int = 32,
        recluster: bool = False,
        choose: bool = False,
        linkage: Linkage | None = None,
        known: KnownClusters = NOTHING_KNOWN,
        revise: bool = False,
        progress: Progress | None = None,
    ) -> Clusters:
        """Assigns every item to a cluster, as a job of the service; see `Gallery.cluster`."""
        told = {"names": {str(n): name for n, name in known.names.items()}, "moved": dict(known.moved)}
        asked = {
            "threshold": threshold,
            "neighbours": neighbours,
            "recluster": recluster,
            "choose": choose,
            "linkage": linkage,
            "known": None if known == NOTHING_KNOWN else told,
            "revise": revise,
        }
        made = self._job("cluster", asked, progress)
        joined = tuple((stays, gone) for stays, gone in made["joined"])
        return Clusters(self.clusters(), made["threshold"], made["added"], joined)

    def clusters(self) -> dict[str, int]:
        """Returns the cluster of every item that has one; see `Gallery.clusters`."""
        return dict(self._call("GET", f"{self._base}/assignments")["clusters"])

    def calibrate(
        self,
        fpir: float = 0.01,
        *,
        embeddings: Vectors | None = None,
        identities: Sequence[str] | None = None,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> GalleryCalibration:
        """Chooses the threshold of `identify`, as a job of the service; see `Gallery.calibrate`."""
        asked = {
            "fpir": fpir,
            "embeddings": None if embeddings is None else [_numbers(row) for row in embeddings],
            "identities": None if identities is None else list(identities),
            "scoring": scoring,
            "top": top,
            "quality": quality,
        }
        return _calibration(self._job("calibrate", asked, None))

    def calibration(
        self, *, scoring: Scoring = "best", top: int = 3, quality: str | None = None
    ) -> GalleryCalibration:
        """Returns the calibration that `identify` decides by; see `Gallery.calibration`."""
        how = {"scoring": scoring, "top": top, "quality": quality}
        return _calibration(self._call("GET", f"{self._base}/calibration", how))

    def rates(
        self, *, scoring: Scoring = "best", top: int = 3, quality: str | None = None
    ) -> RateCurve | None:
        """Returns the false-positive identification rate of every threshold; see `Gallery.rates`."""
        found = self._call("GET", f"{self._base}/rates", {"scoring": scoring, "top": top, "quality": quality})
        if found is None:
            return None
        return RateCurve(
            found["name"],
            np.array(found["thresholds"]),
            np.array(found["estimate"]),
            np.array(found["effective"]),
            found["alone"],
            found["identities"],
            found["scale"],
        )

    def remove(self, item: str) -> bool:
        """Deletes one item; see `Gallery.remove`."""
        return bool(self._post("remove", {"item": item})["removed"])

    def forget(self, identity: str) -> int:
        """Deletes an identity and every trace of it in gallery and service; see `Gallery.forget`."""
        return int(self._post("forget", {"identity": identity})["deleted"])

    def rename(self, identity: str, to: str) -> int:
        """Gives an identity another name; see `Gallery.rename`."""
        return int(self._post("rename", {"identity": identity, "to": to})["moved"])

    def merge(self, identity: str, other: str) -> int:
        """Moves all items of `other` to `identity`; see `Gallery.merge`."""
        return int(self._post("merge", {"identity": identity, "other": other})["moved"])

    def split(self, items: Sequence[str], identity: str) -> int:
        """Moves some items of one identity to a new one; see `Gallery.split`."""
        return int(self._post("split", {"items": check_items(items, "split"), "identity": identity})["moved"])

    def move(self, items: Sequence[str], identity: str) -> int:
        """Moves some items to an existing or a new identity; see `Gallery.move`."""
        return int(self._post("move", {"items": check_items(items, "move"), "identity": identity})["moved"])

    def rebuild(
        self, encoder: str, *, drop_missing: bool = False, progress: Progress | None = None
    ) -> RebuildResult:
        """Embeds every item again with another encoder, as a job of the service; see `Gallery.rebuild`.

        Args:
            encoder: The name of a run that the service shows (`trine serve --runs FOLDER`).
            drop_missing: Whether to delete items that can no longer be read.
            progress: Called with the number of items so far.
        """
        if not isinstance(encoder, str):
            raise InputError(
                "a service rebuilds with a run of its own: name one of those it shows, given "
                f"{type(encoder).__name__}"
            )
        done = self._job("rebuild", {"run": encoder, "drop_missing": drop_missing}, progress)
        self._facts = None
        return RebuildResult(done["embedded"], tuple(done["dropped"]))

    def check_usable(self) -> None:
        """Tells within milliseconds whether the galleries of the service can be used now.

        Raises:
            UnusableServiceError: One cannot, or the service does not answer.
        """
        self._call("GET", "/v1/ready")

    def stats(self) -> Stats:
        """Counts items, identities, clusters and bytes; see `Gallery.stats`."""
        found = self._call("GET", f"{self._base}/stats")
        recall = found["recall"]
        known = None
        if recall is not None:
            known = QuantizationRecall(recall["recall"], int(recall["at"]), int(recall["items"]))
        least, median, most = found["per_identity"]
        return Stats(**{**found, "per_identity": (least, median, most), "recall": known})

    def close(self) -> None:
        """Closes the connections; safe to call twice."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name not in _ELSEWHERE:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise NotRemoteError(
                f"a gallery of a service has no {name}: that is for the machine that serves it",
                code="not_remote",
                hint=_ELSEWHERE[name],
            )

    def _limits(self) -> dict[str, int]:
        """The limits of the service, which are asked for once."""
        if self._asked_limits is None:
            self._asked_limits = dict(self._call("GET", "/v1/session")["limits"])
        return self._asked_limits

    def _about(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = self._call("GET", self._base)
        return self._facts

    def _new(self, entry: Entry) -> dict[str, Any]:
        if not isinstance(entry, Entry):
            raise InputError(f"enrol_many takes trine.gallery.Entry objects, given {type(entry).__name__}")
        content = entry.item if entry.content is None else entry.content
        if isinstance(content, Place):
            content = content.items[content.index]
        what = self._probe(None if entry.embedding is not None else content, entry.embedding)
        metadata = json.loads(metadata_text(entry.metadata, str(entry.item)))
        return {"identity": entry.identity, "item": entry.item, **what, "metadata": metadata}

    def _probe(self, item: Any, embedding: Vector | None) -> dict[str, Any]:
        """What a request says of a probe."""
        if (item is None) == (embedding is None):
            raise InputError("pass one probe: either an item for the encoder, or its embedding")
        if embedding is not None:
            return {"embedding": _numbers(embedding)}
        kind = self._about()["kind"]
        if kind == "texts" or (isinstance(item, str) and kind is None and not Path(item).is_file()):
            return {"text": item}
        if isinstance(item, Mapping):
            return {"row": {name: _plain(value) for name, value in item.items()}}
        if isinstance(item, str | Path):
            return {"picture": _encoded(_file(Path(item)))}
        if isinstance(item, bytes):
            return {"picture": _encoded(item)}
        if kind == "images" or is_pillow(item):
            return {"picture": _encoded(_png(item))}
        return {"vector": _numbers(item)}

    def _job(self, kind: str, arguments: Mapping[str, Any], progress: Progress | None) -> dict[str, Any]:
        """Begins a job and waits for its end."""
        job = self._post("jobs", {"kind": kind, **arguments})
        pause = 0.02
        while job["state"] in ("waiting", "running"):
            time.sleep(pause)
            pause = min(1.0, 1.5 * pause)
            job = self._call("GET", f"/v1/jobs/{job['id']}")
            if progress is not None and job["done"]:
                progress(job["done"])
        if job["state"] == "failed":
            raise _told(job["code"], job["error"], "look at the job")
        if job["state"] != "done":
            raise GalleryError(f"the job {kind} is {job['state']}: {job['error'] or 'begin it again'}")
        result: dict[str, Any] = job["result"]
        return result

    def _post(self, call: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in asked.items() if value is not None}
        found: dict[str, Any] = self._call("POST", f"{self._base}/{call}", body=given)
        return found

    def _call(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, *, body: Any = None
    ) -> Any:
        """Sends a request, again if the service is busy.

        Raises:
            TrineError: As the gallery of the service raised it; or a `ServiceError`.
        """
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(wanted)}" if wanted else path
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        for attempt in range(1, TRIES + 1):
            status, headers, answer = self._send(method, target, content)
            if status < 400:
                return parse_json(answer, digits=DIGITS)
            error = _error(status, answer)
            if status in (429, 503) and attempt < TRIES and getattr(error, "code", "") in _BUSY:
                time.sleep(min(LONGEST_WAIT, float(headers.get("retry-after", 1))))
                continue
            raise error
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, target: str, content: bytes | None) -> tuple[int, dict[str, str], bytes]:
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        for fresh in (False, True):
            connection = self._connection(fresh=fresh)
            try:
                connection.request(method, target, content, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A connection that was idle may have been closed meanwhile; every call may be repeated.
                if fresh or not isinstance(error, _CLOSED):
                    raise self._unreachable(error) from error
                continue
            if response.will_close:
                connection.close()
            else:
                with self._lock:
                    self._idle.append(connection)
            named = {name.lower(): value for name, value in response.getheaders()}
            return response.status, named, answer
        raise AssertionError("the second try returns or raises")

    def _connection(self, *, fresh: bool) -> http.client.HTTPConnection:
        with self._lock:
            if self._idle and not fresh:
                return self._idle.pop()
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _unreachable(self, error: Exception) -> UnusableServiceError:
        where = f"{self._parts.scheme}://{self._parts.netloc}"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnusableServiceError(
            f"the service at {where} does not answer ({reason})",
            code="unreachable",
            hint="check the address, and that trine serve runs there",
        )


_BUSY = ("busy", "rate_limit")
_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


def _error(status: int, answer: bytes) -> TrineError:
    """The error that a service answered, as the gallery itself would have raised it."""
    try:
        told = parse_json(answer)["error"]
        code, message, hint = (str(told[name]) for name in ("code", "message", "hint"))
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the service answered with status {status}", code=f"status_{status}")
    return _told(code, message, hint)


def _told(code: str, message: str, hint: str) -> TrineError:
    known: dict[str, type[TrineError]] = {
        "unknown_name": UnknownNameError,
        "unknown_gallery": GalleryError,
        "conflict": GalleryError,
        "no_encoder": GalleryError,
        "no_threshold": CalibrationError,
        "invalid_setting": SettingError,
        "invalid_request": InputError,
        "invalid_picture": InputError,
        "too_many": InputError,
        "too_large": InputError,
    }
    if code in known:
        return known[code](message)
    kind = UnusableServiceError if code == "unavailable" else ServiceError
    return kind(message, code=code, hint=hint)


def _chunks(entries: Iterable[dict[str, Any]], most: int, most_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """Cuts a stream into lists that fit into one request."""
    part: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        bytes_of = len(entry.get("picture", "")) + 24 * len(entry.get("embedding", ())) + 1_000
        if part and (len(part) >= most or size + bytes_of > most_bytes):
            yield part
            part, size = [], 0
        part.append(entry)
        size += bytes_of
    if part:
        yield part


def _conditions(where: Mapping[str, Any] | Filter | None) -> dict[str, Any]:
    """Writes conditions on metadata as the API takes them."""
    found: dict[str, Any] = {}
    for condition in Filter.of(where).conditions:
        if isinstance(condition, Between):
            found[condition.key] = {"from": condition.low, "to": condition.high}
        elif isinstance(condition, Among):
            found[condition.key] = [value for _, value in sorted(condition.values, key=str)]
    return found


def _decided(answer: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    values = {name: value for name, value in answer.items() if name in known}
    score = math.inf if values["score"] is None else values["score"]
    return {**values, "score": score, "promise": _promise(values["promise"])}


def _identification(answer: Mapping[str, Any]) -> Identification:
    values = _decided(answer, Identification)
    candidates = tuple(Candidate(**one) for one in answer["candidates"])
    return Identification(**{**values, "candidates": candidates})


def _calibration(answer: Mapping[str, Any]) -> GalleryCalibration:
    return GalleryCalibration.from_json({name: value for name, value in answer.items() if name != "sentence"})


def _promise(fields: Mapping[str, Any] | None) -> Promise | None:
    return None if fields is None else Promise.from_json(fields)


def _entry(answer: Mapping[str, Any]) -> Entry:
    row = np.array(answer["embedding"], dtype=np.float32)
    return Entry(answer["identity"], answer["item"], row, None, answer["metadata"])


def _numbers(vector: Any) -> list[float]:
    if isinstance(vector, Tensor):
        vector = vector.detach().to("cpu", copy=False).float().numpy()
    try:
        numbers = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"expected a list of numbers, given {type(vector).__name__}") from None
    if numbers.ndim != 1:
        raise GalleryError(f"expected one vector, given an array of shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise GalleryError("the embedding is not finite: check the item and its encoder")
    listed: list[float] = numbers.tolist()
    return listed


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): name a picture") from error


def _png(item: Any) -> bytes:
    image: Any = require("PIL.Image", extra="images")
    if not is_pillow(item):
        pixels = np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise InputError(
                f"a picture must be uint8 (height, width, channels), given {pixels.dtype} {pixels.shape}"
            )
        item = image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    item.save(buffer, "PNG")
    return buffer.getvalue()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
