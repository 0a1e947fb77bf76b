# Node pools of a GKE cluster that is there, as cluster/kuberay-*.yaml and kubernetes-parts.yaml select them.
locals {
  pools = {
    head    = { machine = "n2-standard-8", spot = false, most = 2, gpus = 0 }
    reader  = { machine = "n2-standard-16", spot = false, most = 8, gpus = 0 }
    labeler = { machine = "g2-standard-8", spot = true, most = 16, gpus = 1 }
    trainer = { machine = "g2-standard-8", spot = false, most = 2, gpus = 1 }
  }
}

resource "google_container_node_pool" "pool" {
  for_each       = var.gke_cluster == null ? {} : local.pools
  name           = "distill-${each.key}"
  cluster        = var.gke_cluster
  location       = var.region
  node_locations = var.zones
  autoscaling {
    total_min_node_count = 0
    total_max_node_count = each.value.most
    location_policy      = each.value.spot ? "ANY" : "BALANCED" # ANY: where spot machines are to be had
  }
  management {
    auto_repair  = true
    auto_upgrade = true
  }
  node_config {
    machine_type    = each.value.machine
    spot            = each.value.spot
    disk_size_gb    = 100
    disk_type       = "pd-balanced"
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.node["worker"].email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    labels          = { "distill/role" = each.key }
    workload_metadata_config {
      mode = "GKE_METADATA" # pods have identities of their own, and not their node's
    }
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    dynamic "guest_accelerator" {
      for_each = each.value.gpus > 0 ? [each.value.gpus] : []
      content {
        type  = "nvidia-l4"
        count = guest_accelerator.value
        gpu_driver_installation_config {
          gpu_driver_version = "LATEST"
        }
      }
    }
    # GKE itself taints what has a GPU, with nvidia.com/gpu=present
    dynamic "taint" {
      for_each = each.value.spot ? { "distill/spot" = "true" } : {}
      content {
        key    = taint.key
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }
  }
  lifecycle {
    ignore_changes = [node_config[0].resource_labels]
  }
}
