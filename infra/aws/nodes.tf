# Node groups of an EKS cluster that is there, as cluster/kuberay-*.yaml and kubernetes-parts.yaml select them.
locals {
  groups = {
    head    = { types = ["m7i.2xlarge"], market = "ON_DEMAND", most = 2, gpu = false }
    reader  = { types = ["m7i.4xlarge"], market = "ON_DEMAND", most = 8, gpu = false }
    labeler = { types = ["g6.2xlarge", "g5.2xlarge", "g6e.2xlarge"], market = "SPOT", most = 16, gpu = true }
    trainer = { types = ["g6.2xlarge"], market = "ON_DEMAND", most = 2, gpu = true }
  }
}

data "aws_iam_policy_document" "from_eks_nodes" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# of the kubelet; what pods may do is in the role of their service account
resource "aws_iam_role" "kubelet" {
  count              = var.eks_cluster == null ? 0 : 1
  name               = "distill-kubelet"
  assume_role_policy = data.aws_iam_policy_document.from_eks_nodes.json
}

resource "aws_iam_role_policy_attachment" "kubelet" {
  for_each = var.eks_cluster == null ? toset([]) : toset([
    "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly",
  ])
  role       = aws_iam_role.kubelet[0].name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_launch_template" "node" {
  name_prefix = "distill-"
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # pods have roles of their own, and not their node's
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size           = 100
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }
}

resource "aws_eks_node_group" "group" {
  for_each        = var.eks_cluster == null ? {} : local.groups
  cluster_name    = var.eks_cluster
  node_group_name = "distill-${each.key}"
  node_role_arn   = aws_iam_role.kubelet[0].arn
  subnet_ids      = var.subnet_ids
  ami_type        = each.value.gpu ? "AL2023_x86_64_NVIDIA" : "AL2023_x86_64_STANDARD"
  capacity_type   = each.value.market
  instance_types  = each.value.types
  labels          = { "distill/role" = each.key }
  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }
  scaling_config {
    min_size     = 0
    desired_size = 0
    max_size     = each.value.most
  }
  dynamic "taint" {
    for_each = each.value.gpu ? { "nvidia.com/gpu" = "present" } : {}
    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }
  dynamic "taint" {
    for_each = each.value.market == "SPOT" ? { "distill/spot" = "true" } : {}
    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }
  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the cluster's autoscaler changes it
  }
  depends_on = [aws_iam_role_policy_attachment.kubelet]
}
