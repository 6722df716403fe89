module penstock.test/goclient

go 1.19
