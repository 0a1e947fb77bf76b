# Who the nodes are. A worker reads pools and reads and writes roots, and that is all; the head starts and ends nodes beside.
data "aws_caller_identity" "here" {}

data "aws_iam_policy_document" "from_ec2" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
  # the service account of cluster/kubernetes.yaml
  dynamic "statement" {
    for_each = var.oidc_provider_arn == null ? [] : [var.oidc_provider_arn]
    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [statement.value]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", statement.value)[1]}:sub"
        values   = ["system:serviceaccount:distill:distill"]
      }
      condition {
        test     = "StringEquals"
        variable = "${split("oidc-provider/", statement.value)[1]}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }
}

data "aws_iam_policy_document" "worker" {
  statement {
    sid       = "ListRoots"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = concat([aws_s3_bucket.roots.arn], [for name in var.pool_buckets : "arn:aws:s3:::${name}"])
  }
  statement {
    sid       = "ReadPools"
    actions   = ["s3:GetObject"]
    resources = concat(["${aws_s3_bucket.roots.arn}/*"], [for name in var.pool_buckets : "arn:aws:s3:::${name}/*"])
  }
  statement {
    sid       = "WriteRoots"
    actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.roots.arn}/*"]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.roots.arn]
  }
}

data "aws_iam_policy_document" "head" {
  # these have no resource to name
  statement {
    sid = "LookAtNodes"
    actions = [
      "ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeImages", "ec2:DescribeSubnets",
      "ec2:DescribeSecurityGroups", "ec2:DescribeKeyPairs", "ec2:DescribeInstanceTypes",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "StartNodes"
    actions   = ["ec2:RunInstances"]
    resources = ["arn:aws:ec2:${var.region}:${data.aws_caller_identity.here.account_id}:*/*", "arn:aws:ec2:${var.region}::image/*"]
  }
  statement {
    sid       = "TagWhatItStarts"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:aws:ec2:${var.region}:${data.aws_caller_identity.here.account_id}:*/*"]
    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances"]
    }
  }
  statement {
    sid       = "EndItsOwnNodes"
    actions   = ["ec2:TerminateInstances", "ec2:CreateTags"]
    resources = ["arn:aws:ec2:${var.region}:${data.aws_caller_identity.here.account_id}:instance/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/ray-cluster-name"
      values   = ["distill"]
    }
  }
  statement {
    sid       = "NodesAreWorkers"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.node["worker"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  for_each           = toset(["head", "worker"])
  name               = "distill-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.from_ec2.json
}

resource "aws_iam_instance_profile" "node" {
  for_each = aws_iam_role.node
  name     = each.value.name
  role     = each.value.name
}

resource "aws_iam_role_policy" "storage" {
  for_each = aws_iam_role.node
  name     = "storage"
  role     = each.value.id
  policy   = data.aws_iam_policy_document.worker.json
}

resource "aws_iam_role_policy" "nodes" {
  name   = "nodes"
  role   = aws_iam_role.node["head"].id
  policy = data.aws_iam_policy_document.head.json
}
