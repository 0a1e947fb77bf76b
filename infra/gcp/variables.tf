variable "project" {
  description = "The project that all of it is in."
  type        = string
}

variable "region" {
  description = "Where bucket and nodes are. One region: what crosses it is paid for."
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

variable "network" {
  description = "Name of the network that nodes are in; it needs Cloud NAT for images, and Private Google Access."
  type        = string
}

variable "ssh_cidr" {
  description = "From where `ray up` is run. Never 0.0.0.0/0."
  type        = string
  validation {
    condition     = tonumber(split("/", var.ssh_cidr)[1]) >= 16
    error_message = "ssh_cidr is wider than a /16: name the network that people come from."
  }
}

variable "gke_cluster" {
  description = "Name of a GKE cluster that gets the node pools of cluster/kuberay-*.yaml; none without it."
  type        = string
  default     = null
}

variable "zones" {
  description = "Zones of the node pools: spot machines come where there are some."
  type        = list(string)
  default     = []
}
