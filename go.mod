module github.com/seed-c851cfd2/moec

go 1.26
