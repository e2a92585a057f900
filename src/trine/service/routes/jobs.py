"""Calls about long work: begin a job, look how far it is, cancel it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, status

from trine.service.access import OneGallery, Reader, TheService, Writer
from trine.service.bodies import body, takes
from trine.service.errors import ApiError
from trine.service.jobs import Job, Jobs
from trine.service.keys import Caller
from trine.service.limits import check_most
from trine.service.schemas import CalibrateJob, EnrolJob, JobModel, JobRequest, JobsAnswer
from trine.service.work import run_folder

router = APIRouter(prefix="/v1", tags=["jobs"])


async def the_jobs(request: Request) -> Jobs:
    """The jobs of the service."""
    jobs: Jobs = request.app.state.jobs
    return jobs


TheJobs = Annotated[Jobs, Depends(the_jobs)]


@router.post(
    "/galleries/{gallery}/jobs", status_code=status.HTTP_202_ACCEPTED, openapi_extra=takes(JobRequest)
)
def begin(
    hosted: OneGallery,
    service: TheService,
    caller: Writer,
    jobs: TheJobs,
    given: Annotated[JobRequest, body(JobRequest)],
) -> JobModel:
    """Begins a job: enrol many items, cluster, calibrate, rebuild, audit, or find the hardest pairs.

    It is stored when the answer arrives, and goes on after a restart of the service.
    """
    wanted = given.root
    if isinstance(wanted, EnrolJob):
        check_most(len(wanted.entries), 100 * service.limits.items, "entries")
        payload = wanted.model_dump_json(exclude={"kind"}, exclude_defaults=True).encode()
        job = jobs.add(caller, hosted.name, "enrol", {}, payload=payload, total=len(wanted.entries))
        return model_of(job)
    if isinstance(wanted, CalibrateJob) and wanted.embeddings is not None:
        check_most(len(wanted.embeddings), service.limits.items, "embeddings")
    if wanted.kind == "rebuild":
        run_folder(service, wanted.run)
    total = len(hosted.gallery) if wanted.kind != "calibrate" else None
    return model_of(
        jobs.add(caller, hosted.name, wanted.kind, wanted.model_dump(exclude={"kind"}), total=total)
    )


@router.get("/jobs")
def list_jobs(caller: Reader, jobs: TheJobs) -> JobsAnswer:
    """The jobs of the galleries that this key may use, the latest first."""
    return JobsAnswer(jobs=[model_of(job) for job in jobs.all() if caller.may_use(job.gallery)])


@router.get("/jobs/{job}")
def one_job(job: str, caller: Reader, jobs: TheJobs) -> JobModel:
    """How far a job is."""
    return model_of(_mine(jobs, job, caller))


@router.post("/jobs/{job}/cancel")
def cancel_job(job: str, caller: Writer, jobs: TheJobs) -> JobModel:
    """Stops a job: one that waits at once, one at work after its present step. What it wrote stays."""
    _mine(jobs, job, caller)
    return model_of(jobs.cancel(job))


def model_of(job: Job) -> JobModel:
    """Makes the answer of a job."""
    fields = {name: value for name, value in vars(job).items() if name != "arguments"}
    return JobModel.model_validate(fields)


def _mine(jobs: Jobs, number: str, caller: Caller) -> Job:
    job = jobs.get(number)
    if not caller.may_use(job.gallery):
        raise ApiError("unknown_job", f"there is no job {number[:40]!r}")
    return job
