package vault_test

import (
	"testing"

	"lap/sandbox/vault"
)

func TestLooksSecret(t *testing.T) {
	for _, name := range []string{
		"GITHUB_TOKEN", "github_token", "NPMTOKEN", "AUTHTOKENS", "CLIENT_SECRET", "MYSECRETS", "PASSWORD", "DBPASSWD", "PGPASSWORD", "MYSQL_PWD",
		"KEY_PASSPHRASE", "OPENAIAPIKEY", "API_KEYS", "GOOGLE_CREDENTIALS", "PRIVATE_KEY_PEM", "DEPLOY_PRIVATE_KEYS", "SIGNING_KEY", "KEY",
		"ACCESS_KEY_ID", "GH_PAT", "BASIC_AUTH", "AUTH", "SENTRY_DSN", "SMTP_PASS", "SESSION_COOKIE", "DATABASE_URL", "TEST_DATABASE_URL", "REDIS_URL",
		"PUBLIC_KEY",
	} {
		if !vault.LooksSecret(name) {
			t.Errorf("%s does not look like a secret", name)
		}
	}
	for _, name := range []string{
		"", "PATH", "REGION", "HOME", "KEYBOARD", "MONKEY", "PATTERN", "AUTHOR", "COMPASS", "BYPASS_CACHE", "PASSIVE", "LOG_LEVEL", "BASE_URL", "USER",
	} {
		if vault.LooksSecret(name) {
			t.Errorf("%s looks like a secret", name)
		}
	}
}

func TestLooksSetting(t *testing.T) {
	for _, name := range []string{"PIP_INDEX_URL", "AWS_REGION", "DB_HOST", "app_port", "NPM_CONFIG_REGISTRY", "NODE_ENV"} {
		if !vault.LooksSetting(name) {
			t.Errorf("%s does not look like a setting", name)
		}
	}
	for _, name := range []string{"", "GITHUB_TOKEN", "DATABASE_URL", "TOKEN_URL", "KEY", "REGION"} {
		if vault.LooksSetting(name) {
			t.Errorf("%s looks like a setting", name)
		}
	}
}
