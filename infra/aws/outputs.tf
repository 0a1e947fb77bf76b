output "root" {
  description = "What `root` of a job begins with."
  value       = "s3://${aws_s3_bucket.roots.bucket}"
}

output "security_group_id" {
  description = "For SecurityGroupIds in cluster/aws.yaml."
  value       = aws_security_group.ray.id
}

output "worker_role_arn" {
  description = "For the service account in cluster/kubernetes.yaml."
  value       = aws_iam_role.node["worker"].arn
}
