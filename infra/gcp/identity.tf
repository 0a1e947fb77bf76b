# Who the nodes are. A worker reads pools and reads and writes roots, and that is all; the head starts and ends nodes beside.
resource "google_service_account" "node" {
  for_each     = toset(["head", "worker"])
  account_id   = "distill-${each.key}"
  display_name = "distill: ${each.key} of a Ray"
}

# objectUser: objects alone, neither the bucket nor who may read it
resource "google_storage_bucket_iam_member" "roots" {
  for_each = google_service_account.node
  bucket   = google_storage_bucket.roots.name
  role     = "roles/storage.objectUser"
  member   = each.value.member
}

resource "google_storage_bucket_iam_member" "pools" {
  for_each = {
    for pair in setproduct(var.pool_buckets, ["head", "worker"]) : join("/", pair) => { bucket = pair[0], node = pair[1] }
  }
  bucket = each.value.bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.node[each.value.node].member
}

resource "google_project_iam_member" "figures" {
  for_each = {
    for pair in setproduct(["head", "worker"], ["roles/logging.logWriter", "roles/monitoring.metricWriter"]) : join(" ", pair) => pair
  }
  project = var.project
  role    = each.value[1]
  member  = google_service_account.node[each.value[0]].member
}

resource "google_project_iam_custom_role" "launcher" {
  role_id     = "distillLauncher"
  title       = "distill: starts and ends the nodes of a Ray"
  description = "What Ray's launcher calls, and no more."
  permissions = [
    "compute.disks.create",
    "compute.images.getFromFamily",
    "compute.images.useReadOnly",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.projects.get",
    "compute.subnetworks.use",
    "compute.zoneOperations.get",
  ]
}

resource "google_project_iam_member" "launcher" {
  project = var.project
  role    = google_project_iam_custom_role.launcher.id
  member  = google_service_account.node["head"].member
}

# the head may start workers, and nothing that is somebody else
resource "google_service_account_iam_member" "head_starts_workers" {
  service_account_id = google_service_account.node["worker"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.node["head"].member
}

# the service account of cluster/kubernetes.yaml
resource "google_service_account_iam_member" "pods_are_workers" {
  count              = var.gke_cluster == null ? 0 : 1
  service_account_id = google_service_account.node["worker"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[distill/distill]"
}
