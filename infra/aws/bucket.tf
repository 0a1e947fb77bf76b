# The bucket of roots.
#
# Versioning is on: AWS honours If-None-Match on a versioned bucket, so that commits stay exactly-once, and an object that somebody
# deleted comes back. (Ceph's RADOS Gateway does not honour it on a versioned bucket: leave it off there.)
#
# No rule expires what is current. An attempt that was not committed looks, to a rule by age or prefix, exactly like one that
# was, or that a job is about to commit; who knows which is which is `distill gc JOB --delete`. What gc deleted stays for two weeks
# as a noncurrent version, and goes then.
resource "aws_s3_bucket" "roots" {
  bucket        = var.bucket
  force_destroy = false
}

resource "aws_s3_bucket_public_access_block" "roots" {
  bucket                  = aws_s3_bucket.roots.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "roots" {
  bucket = aws_s3_bucket.roots.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_kms_key" "roots" {
  description             = "Encrypts the roots of distill at rest."
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_s3_bucket_server_side_encryption_configuration" "roots" {
  bucket = aws_s3_bucket.roots.id
  rule {
    # a key a bucket and not an object: one KMS request for thousands of fragments
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.roots.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "roots" {
  bucket = aws_s3_bucket.roots.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "roots" {
  bucket     = aws_s3_bucket.roots.id
  depends_on = [aws_s3_bucket_versioning.roots]
  rule {
    id     = "uploads-that-were-never-finished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  rule {
    id     = "what-gc-deleted"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 14
    }
    expiration {
      expired_object_delete_marker = true
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.roots.arn, "${aws_s3_bucket.roots.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
  # a commit is written by a conditional put or not at all, whoever writes it
  statement {
    sid       = "CommitsAreNeverOverwritten"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.roots.arn}/*/commits/*.json"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }
  }
}

resource "aws_s3_bucket_policy" "roots" {
  bucket     = aws_s3_bucket.roots.id
  policy     = data.aws_iam_policy_document.bucket.json
  depends_on = [aws_s3_bucket_public_access_block.roots]
}
