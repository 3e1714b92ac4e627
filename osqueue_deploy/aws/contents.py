"""What is in a bucket: whether it is there, and emptying it."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from osqueue_deploy.aws.account import Account, call
from osqueue_deploy.errors import Denied, Failed

PAGE = 1_000
"""How many versions S3 lists, and deletes, in one call at most."""

_MISSING = ("404", "NoSuchBucket", "NotFound")


def is_there(account: Account, bucket: str) -> bool:
    """Whether the account has that bucket; raises `Denied` when somebody else does."""
    try:
        account.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _MISSING:
            return False
        raise Denied(f"bucket {bucket} exists, and these credentials may not look at it ({code})") from error
    return True


def delete_with_all_versions(account: Account, bucket: str, tell: Callable[[str], None]) -> None:
    """Delete every version of every object, and then the bucket. It may be broken off, and repeated."""
    s3 = account.client("s3")
    deleted = 0
    while page := _some_versions(s3, bucket):
        answer = call(s3.delete_objects, Bucket=bucket, Delete={"Objects": page, "Quiet": True})
        if answer.get("Errors"):
            first = answer["Errors"][0]
            raise Failed(f"{bucket}/{first['Key']} could not be deleted: {first['Code']}: {first.get('Message', '')}")
        deleted += len(page)
        tell(f"deleted {deleted:,} versions of objects from {bucket}")
    call(s3.delete_bucket, Bucket=bucket)
    tell(f"deleted bucket {bucket}")


def _some_versions(s3: Any, bucket: str) -> list[dict[str, str]]:
    page = call(s3.list_object_versions, Bucket=bucket, MaxKeys=PAGE)
    listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    return [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed]
