output "root" {
  description = "What `root` of a job begins with."
  value       = "gs://${google_storage_bucket.roots.name}"
}

output "subnetwork" {
  description = "For `subnetwork` in cluster/gcp.yaml."
  value       = google_compute_subnetwork.ray.id
}

output "service_accounts" {
  description = "For `serviceAccounts` in cluster/gcp.yaml, and the service account in cluster/kubernetes.yaml."
  value       = { for name, account in google_service_account.node : name => account.email }
}
