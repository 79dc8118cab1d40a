package mirror

// helper answers git's question for a user and password. It is text of a shell, and so
// names the variables only: the token itself stands in no argument and no file. printf is
// a builtin of the shells that are /bin/sh.
const helper = `!lap() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$LAP_GIT_USER" "$LAP_GIT_TOKEN"; }; lap`

// credential gives the command the token, for the scheme, host and port of the repository
// only: a redirect elsewhere, or to plain http, gets none.
func (r Repo) credential(c command) command {
	if r.Token == "" {
		return c
	}
	u := r.parsed()
	c.config = append(c.config, setting{"credential." + u.Scheme + "://" + u.Host + ".helper", helper})
	c.env = append(c.env, "LAP_GIT_USER="+r.user(), "LAP_GIT_TOKEN="+r.Token)
	return c
}

// user is who the token is given with: whom the URL names, else what GitHub asks for and
// others take.
func (r Repo) user() string {
	if name := r.parsed().User.Username(); name != "" {
		return name
	}
	return "x-access-token"
}
