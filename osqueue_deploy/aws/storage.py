"""What a stage keeps: the bucket with the queue, and the token that opens it."""

from osqueue_deploy.aws.functions import Json, attribute, ref, resource, sub
from osqueue_deploy.aws.stage import PREFIX, Stage

TOKEN_LENGTH = 48
OLD_VERSIONS_DAYS = {True: 30, False: 1}
"""How long an overwritten or deleted object can be brought back, on production and elsewhere."""


def bucket(stage: Stage) -> Json:
    """The bucket alone: what a stack begins with that adopts one.

    The stack never deletes it, on no stage: a failed first deployment would try to, and fail once more over what
    brokers have written. Where it is to go, the command empties and deletes it.
    """
    return {
        "Bucket": resource(
            "S3::Bucket",
            {
                "BucketName": sub(stage.stack + "-${AWS::AccountId}-${AWS::Region}"),
                "VersioningConfiguration": {"Status": "Enabled"},
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
                # Of the queue's objects no rule may delete or move a current version: brokers clean up themselves.
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "old-versions",
                            "Status": "Enabled",
                            "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSIONS_DAYS[stage.is_production]},
                            "ExpiredObjectDeleteMarker": True,
                        },
                        {
                            "Id": "unfinished-uploads",
                            "Status": "Enabled",
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                        },
                    ]
                },
            },
            DeletionPolicy="Retain",
            UpdateReplacePolicy="Retain",
        )
    }


def storage(stage: Stage) -> Json:
    """Bucket, its policy, and the secrets."""
    return {
        **bucket(stage),
        "BucketPolicy": resource(
            "S3::BucketPolicy",
            {
                "Bucket": ref("Bucket"),
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "TlsOnly",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:*",
                            "Resource": [attribute("Bucket", "Arn"), sub("${Bucket.Arn}/*")],
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            },
        ),
        "Token": _secret(f"OSQUEUE_TOKEN of {stage.stack}"),
        "OriginSecret": _secret(f"What CloudFront shows the load balancer of {stage.stack}"),
    }


def broker_statements() -> list[Json]:
    """What a broker may do: read, write and delete below the prefix, and list its bucket; nothing else."""
    return [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": sub("${Bucket.Arn}/" + PREFIX + "*"),
        },
        # Without a condition on the prefix: S3 asks for this right, of no prefix, to answer that an object is missing
        # (404) instead of that it is forbidden (403), and brokers must tell the two apart.
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": attribute("Bucket", "Arn")},
    ]


def _secret(description: str) -> Json:
    return resource(
        "SecretsManager::Secret",
        {
            "Description": description,
            "GenerateSecretString": {"PasswordLength": TOKEN_LENGTH, "ExcludePunctuation": True},
        },
    )
