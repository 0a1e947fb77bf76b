# Nodes talk to each other; people come by SSH from one network. Ray's ports are open to nobody else.
resource "google_compute_subnetwork" "ray" {
  name                     = "distill"
  network                  = var.network
  region                   = var.region
  ip_cidr_range            = "10.71.0.0/20"
  private_ip_google_access = true # to the bucket, without a public address
  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "each_other" {
  name                    = "distill-ray"
  network                 = var.network
  source_service_accounts = [for node in google_service_account.node : node.email]
  target_service_accounts = [for node in google_service_account.node : node.email]
  allow {
    protocol = "tcp"
  }
}

resource "google_compute_firewall" "ssh" {
  name                    = "distill-ssh"
  network                 = var.network
  source_ranges           = [var.ssh_cidr]
  target_service_accounts = [for node in google_service_account.node : node.email]
  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
