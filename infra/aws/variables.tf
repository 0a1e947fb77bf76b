variable "region" {
  description = "Where bucket and nodes are. One region: what crosses it is paid for a row at a time."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket that keeps roots."
  type        = string
}

variable "pool_buckets" {
  description = "Names of buckets whose pools are read, and never written."
  type        = list(string)
  default     = []
}

variable "vpc_id" {
  description = "The network that nodes are in."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, in several zones: spot machines come where there are some."
  type        = list(string)
}

variable "route_table_ids" {
  description = "Of those subnets: S3 is reached without a NAT gateway, whose gigabytes are paid for."
  type        = list(string)
}

variable "ssh_cidr" {
  description = "From where `ray up` is run. Never 0.0.0.0/0."
  type        = string
  validation {
    condition     = tonumber(split("/", var.ssh_cidr)[1]) >= 16
    error_message = "ssh_cidr is wider than a /16: name the network that people come from."
  }
}

variable "eks_cluster" {
  description = "Name of an EKS cluster that gets the node groups of cluster/kuberay-*.yaml; none without it."
  type        = string
  default     = null
}

variable "oidc_provider_arn" {
  description = "Of that cluster's identity provider, which lets its service account be the worker."
  type        = string
  default     = null
}
