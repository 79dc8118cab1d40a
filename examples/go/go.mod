module example.com/agent

go 1.26.0

require lap v0.0.0

replace lap => ../.. // where you have its source
